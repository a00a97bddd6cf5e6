#include "trace/post.h"

#include <curl/curl.h>
#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"

#define ANSWER_MAX   4096
#define HEADERS_MAX  16
#define HEADER_SIZE  4096
#define CONNECT_MS   5000L
#define ANSWER_SHOWN 200

struct post {
	CURL *curl;
	struct curl_slist *headers;
	char endpoint[256];
	char error[CURL_ERROR_SIZE];
	char answer[ANSWER_MAX + 1];
	size_t answer_size;
};

/* Keeps the beginning; what is longer is read and forgotten. */
static size_t take(char *bytes, size_t one, size_t count, void *arg)
{
	struct post *post = arg;
	const size_t room = ANSWER_MAX - post->answer_size;
	const size_t size = one * count;

	memcpy(post->answer + post->answer_size, bytes, size < room ? size : room);
	post->answer_size += size < room ? size : room;
	return size;
}

static int add_header(struct post *post, const char *line, struct err *why)
{
	struct curl_slist *longer = curl_slist_append(post->headers, line);

	if (longer == NULL)
		return err_set(why, ERR_NO_MEMORY, "out of memory");
	post->headers = longer;
	return 0;
}

static int read_headers(struct post *post, const char *path, struct err *why)
{
	char line[HEADER_SIZE];
	FILE *file = fopen(path, "re");
	unsigned count = 0;
	int rc = 0;

	if (file == NULL)
		return err_set_errno(why, ERR_IO, errno, "--header-file %s", path);
	while (rc == 0 && fgets(line, sizeof(line), file) != NULL) {
		const size_t length = strcspn(line, "\r\n");

		if (line[length] == '\0' && !feof(file))
			rc = err_set(why, ERR_TOO_BIG, "--header-file %s: a line is too long",
				     path);
		line[length] = '\0';
		if (rc < 0 || length == 0 || line[0] == '#')
			continue;
		if (strchr(line, ':') == NULL || ++count > HEADERS_MAX)
			rc = err_set(
				why, ERR_INVALID,
				"--header-file %s: at most %d lines \"Name: value\" are wanted",
				path, HEADERS_MAX);
		else
			rc = add_header(post, line, why);
	}
	explicit_bzero(line, sizeof(line));
	(void)fclose(file);
	return rc;
}

static int check_endpoint(const char *endpoint, struct err *why)
{
	const char *host = strncmp(endpoint, "http://", 7) == 0    ? endpoint + 7
			   : strncmp(endpoint, "https://", 8) == 0 ? endpoint + 8
								   : NULL;

	if (host == NULL || host[0] == '\0' || host[0] == '/' || strchr(host, '/') == NULL)
		return err_set(why, ERR_INVALID,
			       "--endpoint %s: the whole address is wanted, as in "
			       "http://127.0.0.1:4318/v1/traces",
			       endpoint);
	return 0;
}

static bool set_options(struct post *post, const struct post_options *options)
{
	CURL *curl = post->curl;

	return curl_easy_setopt(curl, CURLOPT_URL, options->endpoint) == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_POST, 1L) == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)POST_TIMEOUT_MS) == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS) == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_HTTPHEADER, post->headers) == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, post->error) == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take) == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_WRITEDATA, post) == CURLE_OK &&
	       (options->ca_file == NULL ||
		curl_easy_setopt(curl, CURLOPT_CAINFO, options->ca_file) == CURLE_OK);
}

int post_open(struct post **post, const struct post_options *options, struct err *why)
{
	struct post *made;
	int rc = check_endpoint(options->endpoint, why);

	if (rc < 0)
		return rc;
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return err_set(why, ERR_IO, "libcurl does not start");
	made = calloc(1, sizeof(*made));
	if (made == NULL) {
		curl_global_cleanup();
		return err_set(why, ERR_NO_MEMORY, "out of memory");
	}
	snprintf(made->endpoint, sizeof(made->endpoint), "%s", options->endpoint);
	made->curl = curl_easy_init();
	rc = made->curl == NULL ? err_set(why, ERR_NO_MEMORY, "out of memory")
				: add_header(made, "Content-Type: application/json", why);
	/* Without it libcurl asks first whether a big body is welcome, and waits. */
	if (rc == 0)
		rc = add_header(made, "Expect:", why);
	if (rc == 0 && options->header_file != NULL)
		rc = read_headers(made, options->header_file, why);
	if (rc == 0 && !set_options(made, options))
		rc = err_set(why, ERR_INVALID, "libcurl refuses --endpoint %s or --ca-file %s",
			     options->endpoint,
			     options->ca_file != NULL ? options->ca_file : "(none)");
	if (rc < 0)
		post_close(made);
	else
		*post = made;
	return rc;
}

void post_close(struct post *post)
{
	if (post == NULL)
		return;
	if (post->curl != NULL)
		curl_easy_cleanup(post->curl);
	curl_slist_free_all(post->headers);
	free(post);
	curl_global_cleanup();
}

enum post_end post_judge(long status)
{
	if (status >= 200 && status < 300)
		return POST_DONE;
	/* The ones that OTLP calls retryable. */
	switch (status) {
	case 429:
	case 502:
	case 503:
	case 504:
		return POST_AGAIN;
	default:
		return POST_REFUSED;
	}
}

/* "partialSuccess" of a collector that took the request but not all of its spans. */
static void read_partial(const struct post *post, struct err *why)
{
	json_t *answer = json_loads(post->answer, 0, NULL);
	json_t *partial = json_object_get(answer, "partialSuccess");
	json_t *rejected = json_object_get(partial, "rejectedSpans");
	const char *text = json_string_value(json_object_get(partial, "errorMessage"));
	const bool some = json_is_string(rejected) ? strcmp(json_string_value(rejected), "0") != 0
						   : json_integer_value(rejected) != 0;

	if (some || (text != NULL && text[0] != '\0'))
		(void)err_set(why, ERR_REFUSED, "%s took only a part: %s", post->endpoint,
			      text != NULL ? text : "it does not say why");
	json_decref(answer);
}

enum post_end post_send(struct post *post, const char *body, size_t size, uint64_t *again_ms,
			struct err *why)
{
	curl_off_t retry = 0;
	enum post_end end;
	long status = 0;
	CURLcode code;

	*again_ms = 0;
	post->answer_size = 0;
	post->error[0] = '\0';
	if (curl_easy_setopt(post->curl, CURLOPT_POSTFIELDS, body) != CURLE_OK ||
	    curl_easy_setopt(post->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)size) !=
		    CURLE_OK) {
		(void)err_set(why, ERR_NO_MEMORY, "out of memory");
		return POST_AGAIN;
	}
	code = curl_easy_perform(post->curl);
	post->answer[post->answer_size] = '\0';
	if (code != CURLE_OK) {
		(void)err_set(why, ERR_IO, "%s: %s", post->endpoint,
			      post->error[0] != '\0' ? post->error : curl_easy_strerror(code));
		return POST_AGAIN;
	}
	(void)curl_easy_getinfo(post->curl, CURLINFO_RESPONSE_CODE, &status);
	(void)curl_easy_getinfo(post->curl, CURLINFO_RETRY_AFTER, &retry);
	if (retry > 0)
		*again_ms = (uint64_t)retry * 1000;
	end = post_judge(status);
	if (end == POST_DONE)
		read_partial(post, why);
	else
		(void)err_set(why, ERR_REFUSED, "%s answers %ld: %.*s", post->endpoint, status,
			      ANSWER_SHOWN, post->answer);
	return end;
}
