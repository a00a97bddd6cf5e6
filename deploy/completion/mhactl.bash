# Completion of mhactl for bash. tests/docs/commands_test.py compares it with `mhactl help --json`.

_mhactl_nodes() {
	mhactl "${_mhactl_where[@]}" list --json 2>/dev/null |
		sed -n 's/^ *"name": "\([^"]*\)",$/\1/p' | sort -u
}

_mhactl() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
	local common='--run-dir --endpoint --host --key --server-key --json --timeout --help'
	local verb='' first='' i word
	local -a _mhactl_where=()
	COMPREPLY=()

	case $prev in
	--run-dir | --key | --server-key | --config)
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return ;;
	--to)
		mapfile -t COMPREPLY < <(compgen -W "$(_mhactl_nodes)" -- "$cur")
		return ;;
	--quorum)
		mapfile -t COMPREPLY < <(compgen -W 'majority 1 2 3' -- "$cur")
		return ;;
	--endpoint | --host | --timeout | --since | --at | --until | --for)
		return ;;
	esac

	for ((i = 1; i < COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		case $word in
		--run-dir | --endpoint | --host | --key | --server-key)
			_mhactl_where+=("$word" "${COMP_WORDS[i+1]}")
			((i++)) ;;
		--timeout | --since | --to | --at | --until | --for | --quorum | --config)
			((i++)) ;;
		-*) ;;
		*)
			if [[ -z $verb ]]; then
				verb=$word
			elif [[ -z $first ]]; then
				first=$word
			else
				return
			fi ;;
		esac
	done

	local options='' words=''
	case $verb in
	'') words='status list topology why history events switchover failover cancel mode auto-failover
		auto-switch pause resume maintenance restart reinit reload enroll-token enrolled member doctor
		config version help' ;;
	events) options='--since' ;;
	switchover) options='--to --at --until --dry-run --wait' ;;
	failover) options='--to --dry-run --wait --accept-loss --yes' ;;
	mode)
		options='--quorum --pin --force --dry-run'
		words='max_protection max_availability max_performance' ;;
	auto-failover | auto-switch) words='on off' ;;
	pause) options='--until --for' ;;
	maintenance)
		if [[ -z $first ]]; then words='on off'; else words=$(_mhactl_nodes); fi ;;
	restart | reinit)
		options='--force --yes --dry-run --wait'
		words=$(_mhactl_nodes) ;;
	enroll-token) options='--for' ;;
	member)
		options='--force --dry-run'
		if [[ -z $first ]]; then words='add remove'; else words=$(_mhactl_nodes); fi ;;
	doctor) options='--config' ;;
	config)
		options='--config --yes'
		if [[ -z $first ]]; then
			words='show check edit'
		elif [[ $first == check ]]; then
			compopt -o filenames
			mapfile -t COMPREPLY < <(compgen -f -- "$cur")
			return
		fi ;;
	esac
	[[ $cur == -* ]] && words="$options $common"
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}

complete -F _mhactl mhactl
