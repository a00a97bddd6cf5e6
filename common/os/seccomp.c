#include "os/seccomp.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/sockios.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/macros.h"
#include "os/control.h"
#include "os/sanitizer.h"

#define THREAD_FLAGS                                                                               \
	(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |        \
	 CLONE_SETTLS)
#define OTHER_FLAGS                                                                                \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |             \
	 CLONE_NEWPID | CLONE_NEWNET | CLONE_PTRACE | CLONE_VFORK)

/* A handler has no argument of its own; written once, before the filter is there. */
static volatile sig_atomic_t told_to = -1;

/*
 * The last thing that a process does which asked for what it may not have. SA_RESETHAND has put the
 * default action back, so that the second signal ends it.
 */
static void on_refused(int number, siginfo_t *info, void *context)
{
	const struct control_message message = {.kind = CONTROL_REFUSED,
						.flag = (uint32_t)info->si_syscall};

	UNUSED(number);
	UNUSED(context);
	if (told_to >= 0 && write((int)told_to, &message, sizeof(message)) < 0)
		told_to = -1;
	(void)syscall(SYS_tgkill, getpid(), (int)syscall(SYS_gettid), SIGSYS);
}

static int watch_refusals(int control, struct err *why)
{
	struct sigaction action;

	memset(&action, 0, sizeof(action));
	action.sa_sigaction = on_refused;
	action.sa_flags = (int)((unsigned)SA_SIGINFO | SA_RESETHAND | SA_NODEFER);
	sigfillset(&action.sa_mask);
	sigdelset(&action.sa_mask, SIGSYS);
	told_to = control;
	if (sigaction(SIGSYS, &action, NULL) < 0)
		return err_set_errno(why, ERR_IO, errno, "handler of SIGSYS");
	return 0;
}

/* Once more than a rule is refused, so are all: the first error is kept. */
static int add(int before, scmp_filter_ctx filter, uint32_t action, int call, unsigned count,
	       const struct scmp_arg_cmp *arguments)
{
	return before < 0 ? before : seccomp_rule_add_array(filter, action, call, count, arguments);
}

#define COMPARISON(argument, comparison, a, b)                                                     \
	{                                                                                          \
		.arg = (argument), .op = (comparison), .datum_a = (scmp_datum_t)(a),               \
		.datum_b = (b)                                                                     \
	}
#define IS(argument, value)           COMPARISON(argument, SCMP_CMP_EQ, value, 0)
#define IS_NOT(argument, value)       COMPARISON(argument, SCMP_CMP_NE, value, 0)
#define ABOVE(argument, value)        COMPARISON(argument, SCMP_CMP_GT, value, 0)
#define MASKED(argument, mask, value) COMPARISON(argument, SCMP_CMP_MASKED_EQ, mask, value)
#define COMPARISONS(...)              ((const struct scmp_arg_cmp[]){__VA_ARGS__})
#define RULE(before, filter, action, name, ...)                                                    \
	add(before, filter, action, SCMP_SYS(name), (unsigned)COUNT_OF(COMPARISONS(__VA_ARGS__)),  \
	    COMPARISONS(__VA_ARGS__))

static int add_allowed(scmp_filter_ctx filter, unsigned groups, pid_t self)
{
	int rc = 0;

#define CALL(group, name)                                                                          \
	if ((groups & CALLS_##group) != 0)                                                         \
		rc = add(rc, filter, SCMP_ACT_ALLOW, SCMP_SYS(name), 0, NULL);
#define CALL_IF(group, name, ...)                                                                  \
	if ((groups & CALLS_##group) != 0)                                                         \
		rc = RULE(rc, filter, SCMP_ACT_ALLOW, name, __VA_ARGS__);
#define SOFT(...)
#define SOFT_IF(...)
#include "os/calls.def"
#undef CALL
#undef CALL_IF
#undef SOFT
#undef SOFT_IF
	return rc;
}

static int add_soft(scmp_filter_ctx filter)
{
	int rc = 0;

#define CALL(...)
#define CALL_IF(...)
#define SOFT(error, name)         rc = add(rc, filter, SCMP_ACT_ERRNO(error), SCMP_SYS(name), 0, NULL);
#define SOFT_IF(error, name, ...) rc = RULE(rc, filter, SCMP_ACT_ERRNO(error), name, __VA_ARGS__);
#include "os/calls.def"
#undef CALL
#undef CALL_IF
#undef SOFT
#undef SOFT_IF
	return rc;
}

static int load(scmp_filter_ctx filter, int rc, const char *what, struct err *why)
{
	if (rc == 0)
		rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
	/* A tree instead of a list: the calls of a loop are found in a few steps. */
	if (rc == 0)
		rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (rc == 0)
		rc = seccomp_load(filter);
	seccomp_release(filter);
	if (rc == -ENOMEM)
		return err_set(why, ERR_NO_MEMORY, "%s: out of memory", what);
	if (rc < 0)
		return err_set_errno(why, ERR_IO, -rc,
				     "%s; sandbox.seccomp = off starts without, unprotected", what);
	return 0;
}

int seccomp_allow(unsigned groups, bool log_only, int control, struct err *why)
{
	scmp_filter_ctx filter = seccomp_init(log_only ? SCMP_ACT_LOG : SCMP_ACT_TRAP);
	int rc;

	if (filter == NULL)
		return err_set(why, ERR_NO_MEMORY, "system call filter: out of memory");
	if (OS_SANITIZED)
		groups |= CALLS_SANITIZER;
	rc = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH,
			      log_only ? SCMP_ACT_LOG : SCMP_ACT_KILL_PROCESS);
	if (rc == 0)
		rc = add_allowed(filter, groups, getpid());
	if (rc == 0)
		rc = add_soft(filter);
	if (rc == 0 && !log_only && (rc = watch_refusals(control, why)) < 0) {
		seccomp_release(filter);
		return rc;
	}
	return load(filter, rc, "system call filter", why);
}

/* Administration of the kernel and looks into other processes. */
static const int GUARDED[] = {
	SCMP_SYS(mount),
	SCMP_SYS(umount2),
	SCMP_SYS(pivot_root),
	SCMP_SYS(chroot),
	SCMP_SYS(fsopen),
	SCMP_SYS(fsmount),
	SCMP_SYS(fspick),
	SCMP_SYS(move_mount),
	SCMP_SYS(open_tree),
	SCMP_SYS(mount_setattr),
	SCMP_SYS(unshare),
	SCMP_SYS(setns),
	SCMP_SYS(swapon),
	SCMP_SYS(swapoff),
	SCMP_SYS(reboot),
	SCMP_SYS(kexec_load),
	SCMP_SYS(kexec_file_load),
	SCMP_SYS(init_module),
	SCMP_SYS(finit_module),
	SCMP_SYS(delete_module),
	SCMP_SYS(bpf),
	SCMP_SYS(perf_event_open),
	SCMP_SYS(userfaultfd),
	SCMP_SYS(ptrace),
	SCMP_SYS(process_vm_readv),
	SCMP_SYS(process_vm_writev),
	SCMP_SYS(pidfd_getfd),
	SCMP_SYS(kcmp),
	SCMP_SYS(open_by_handle_at),
	SCMP_SYS(acct),
	SCMP_SYS(quotactl),
	SCMP_SYS(settimeofday),
	SCMP_SYS(clock_settime),
	SCMP_SYS(clock_adjtime),
	SCMP_SYS(adjtimex),
	SCMP_SYS(sethostname),
	SCMP_SYS(setdomainname),
	SCMP_SYS(syslog),
	SCMP_SYS(iopl),
	SCMP_SYS(ioperm),
	SCMP_SYS(vhangup),
	SCMP_SYS(lookup_dcookie),
	SCMP_SYS(nfsservctl),
};

static bool is_sanitizers(int call)
{
	return OS_SANITIZED && (call == SCMP_SYS(ptrace) || call == SCMP_SYS(process_vm_readv));
}

/* What an agent or a database talks with; AF_PACKET is opened before by whom it is handed to. */
static int add_families(scmp_filter_ctx filter, uint32_t action)
{
	static const int FAMILIES[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};
	int rc = 0;

	for (int family = 0; family <= FAMILIES[COUNT_OF(FAMILIES) - 1]; family++) {
		bool used = false;

		for (size_t i = 0; i < COUNT_OF(FAMILIES); i++)
			used |= FAMILIES[i] == family;
		if (!used)
			rc = RULE(rc, filter, action, socket, IS(0, family));
	}
	return RULE(rc, filter, action, socket, ABOVE(0, AF_NETLINK));
}

int seccomp_guard(bool log_only, struct err *why)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	int rc = 0;

	if (filter == NULL)
		return err_set(why, ERR_NO_MEMORY, "system call guard: out of memory");
#if defined(__x86_64__)
	/* The same for programs of 32 bits: a door that is shut has no second handle. */
	if ((rc = seccomp_arch_add(filter, SCMP_ARCH_X86)) == 0)
		rc = seccomp_arch_add(filter, SCMP_ARCH_X32);
#elif defined(__aarch64__)
	rc = seccomp_arch_add(filter, SCMP_ARCH_ARM);
#endif
	for (size_t i = 0; i < COUNT_OF(GUARDED); i++) {
		if (!is_sanitizers(GUARDED[i]))
			rc = add(rc, filter, log_only ? SCMP_ACT_LOG : SCMP_ACT_ERRNO(EPERM),
				 GUARDED[i], 0, NULL);
	}
	if (rc == 0)
		rc = add_families(filter, log_only ? SCMP_ACT_LOG : SCMP_ACT_ERRNO(EAFNOSUPPORT));
	return load(filter, rc, "system call guard", why);
}

const char *seccomp_call_name(int number, char name[64])
{
	char *found = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, number);

	if (found != NULL)
		snprintf(name, 64, "%s", found);
	else
		snprintf(name, 64, "call %d", number);
	free(found);
	return name;
}
