# Completion for bash (with bash-completion): options, directories, hosts, and the
# refs of the local repository. It is loaded by the name of either program.

# Prints the local repository that the command line is about. libostree takes the
# same one without --repo.
_ostree_push_repo() {
	local i
	for ((i = cword; i > 0; i--)); do
		case ${words[i]} in
		--repo=*) echo "${words[i]#--repo=}" && return ;;
		--repo) ((i + 1 < cword)) && echo "${words[i + 1]}" && return ;;
		esac
	done
	if [[ -d objects && -f config ]]; then
		echo .
	else
		echo "${OSTREE_REPO:-/ostree/repo}"
	fi
}

# Completes the refs of a repository. Whatever is called like no ref is left out: it
# could be a command once it is on the command line.
_ostree_push_refs() {
	local repo=${1/#\~\//$HOME/} ref
	while IFS= read -r ref; do
		[[ $ref == "$cur"* && $ref != *[!A-Za-z0-9_./-]* && $ref != -* ]] && COMPREPLY+=("$ref")
	done < <(cd -- "$repo/refs/heads" 2>/dev/null && find . ! -type d | sed 's|^\./||' | sort)
}

# Prints the words before the current one that are neither options nor their values.
_ostree_push_operands() {
	local i
	for ((i = 1; i < cword; i++)); do
		case ${words[i]} in
		-p | --port | --repo | --command | -i | --identity | -o | --option | --transport | --channels) ((i++)) ;;
		-*) ;;
		*) echo "${words[i]}" ;;
		esac
	done
}

_ostree_push() {
	local cur prev words cword split
	_init_completion -s -n : || return
	case $prev in
	--repo) _filedir -d && return ;;
	-i | --identity) _filedir && return ;;
	--transport) COMPREPLY=($(compgen -W "auto stream tunnel" -- "$cur")) && return ;;
	--command) COMPREPLY=($(compgen -W "ostree-receive-1 ostree-receive" -- "$cur")) && return ;;
	-p | --port | -o | --option | --channels) return ;;
	esac
	[[ $split == true ]] && return
	if [[ $cur == -* ]]; then
		COMPREPLY=($(compgen -W "-h --help -n --dry-run -p --port= --repo= --command= -i --identity= -o --option=
			--transport= --channels= --json -q --quiet -v --verbose --version" -- "$cur"))
		[[ ${COMPREPLY-} == *= ]] && compopt -o nospace
	elif [[ $(_ostree_push_operands) ]]; then
		_ostree_push_refs "$(_ostree_push_repo)"
	elif declare -F _known_hosts_real >/dev/null; then
		_known_hosts_real -a -c -- "$cur"
		compopt -o nospace
	fi
} && complete -F _ostree_push ostree-push

_ostree_receive() {
	local cur prev words cword split
	_init_completion -s || return
	if [[ $cur == -* ]]; then
		COMPREPLY=($(compgen -W "-h --help -n --dry-run -f --force --no-update --print-config --update
			-q --quiet -v --verbose --version" -- "$cur"))
	elif [[ ! $(_ostree_push_operands) ]]; then
		_filedir -d
	fi
} && complete -F _ostree_receive ostree-receive ostree-receive-1
