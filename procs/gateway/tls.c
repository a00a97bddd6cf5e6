#include "gateway/tls.h"

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <string.h>

#include "base/macros.h"

static gnutls_datum_t datum_of(const struct bundle *files, enum bundle_part part)
{
	return (gnutls_datum_t){.data = (unsigned char *)files->text[part],
				.size = (unsigned)files->size[part]};
}

int tls_check(const struct bundle *files, struct err *why)
{
	const gnutls_datum_t certificate = datum_of(files, BUNDLE_TLS_CERTIFICATE);
	const gnutls_datum_t key = datum_of(files, BUNDLE_TLS_KEY);
	const gnutls_datum_t ca = datum_of(files, BUNDLE_TLS_CLIENT_CA);
	gnutls_certificate_credentials_t credentials;
	int rc;

	if (certificate.data == NULL)
		return 0;
	if (key.data == NULL)
		return err_set(why, ERR_INVALID, "http.tls_key_file is missing");
	if (gnutls_certificate_allocate_credentials(&credentials) < 0)
		return err_set(why, ERR_NO_MEMORY, "TLS: out of memory");
	rc = gnutls_certificate_set_x509_key_mem(credentials, &certificate, &key,
						 GNUTLS_X509_FMT_PEM);
	if (rc < 0)
		rc = err_set(why, ERR_INVALID, "http.tls_certificate_file, http.tls_key_file: %s",
			     gnutls_strerror(rc));
	else if (ca.data != NULL &&
		 gnutls_certificate_set_x509_trust_mem(credentials, &ca, GNUTLS_X509_FMT_PEM) <= 0)
		rc = err_set(why, ERR_INVALID, "http.tls_client_ca_file: no certificate in PEM");
	else
		rc = 0;
	gnutls_certificate_free_credentials(credentials);
	return rc;
}

static bool common_name(const gnutls_datum_t *certificate, char *name, size_t size)
{
	gnutls_x509_crt_t parsed;
	bool found;

	if (gnutls_x509_crt_init(&parsed) < 0)
		return false;
	found = gnutls_x509_crt_import(parsed, certificate, GNUTLS_X509_FMT_DER) == 0 &&
		gnutls_x509_crt_get_dn_by_oid(parsed, GNUTLS_OID_X520_COMMON_NAME, 0, 0, name,
					      &size) == 0;
	gnutls_x509_crt_deinit(parsed);
	return found;
}

bool tls_client_name(struct MHD_Connection *connection, char *name, size_t size)
{
	static const char purpose[] = GNUTLS_KP_TLS_WWW_CLIENT;
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
	union {
		const char *from;
		unsigned char *to;
	} text = {.from = purpose};
	gnutls_typed_vdata_st wanted[] = {
		{.type = GNUTLS_DT_KEY_PURPOSE_OID, .data = text.to, .size = 0}};
	const gnutls_datum_t *list;
	unsigned status = 1, count = 0;
	gnutls_session_t session;

	if (info == NULL || info->tls_session == NULL)
		return false;
	session = info->tls_session;
	list = gnutls_certificate_get_peers(session, &count);
	if (list == NULL || count == 0 ||
	    gnutls_certificate_verify_peers(session, wanted, COUNT_OF(wanted), &status) < 0 ||
	    status != 0)
		return false;
	/* Longer than `size`, or with a NUL inside: no name that a row can have. */
	memset(name, 0, size);
	return common_name(&list[0], name, size);
}
