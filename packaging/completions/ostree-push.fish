# Completion for fish: options, directories, hosts, and the refs of the local
# repository.

# Prints the words before the current one that are neither options nor their values;
# sets the variable __ostree_push_repo to what --repo says.
function __ostree_push_operands
    argparse -i h/help n/dry-run 'p/port=' 'repo=' 'command=+' 'i/identity=' 'o/option=+' \
        'transport=' 'channels=' json q/quiet v/verbose version -- (commandline -opc)[2..] 2>/dev/null
    set -g __ostree_push_repo $_flag_repo
    string join -- \n $argv
end

# Without --repo it is the one that libostree takes. Whatever is called like no ref
# is left out.
function __ostree_push_refs
    __ostree_push_operands >/dev/null
    set -l repo $__ostree_push_repo[-1]
    if test -z "$repo"
        if test -d objects -a -f config
            set repo .
        else if test -n "$OSTREE_REPO"
            set repo $OSTREE_REPO
        else
            set repo /ostree/repo
        end
    end
    set repo (string replace -r '^~/' "$HOME/" -- $repo)
    test -d $repo/refs/heads; or return
    find $repo/refs/heads ! -type d | string replace -- $repo/refs/heads/ '' | string match -r '^[A-Za-z0-9_][A-Za-z0-9_./-]*$'
end

complete -c ostree-push -f
complete -c ostree-push -s h -l help -d 'Show the options, with examples'
complete -c ostree-push -s n -l dry-run -d 'Only show what would be done'
complete -c ostree-push -s p -l port -x -d 'Port of the ssh server'
complete -c ostree-push -l repo -x -a '(__fish_complete_directories)' -d 'Local repository'
complete -c ostree-push -l command -x -a 'ostree-receive-1 ostree-receive' -d 'Command to run on the server'
complete -c ostree-push -s i -l identity -r -F -d 'Identity file for ssh'
complete -c ostree-push -s o -l option -x -d 'Option for ssh'
complete -c ostree-push -l transport -x -a 'auto stream tunnel' -d 'How objects travel'
complete -c ostree-push -l channels -x -d 'Sessions of a large push, at most'
complete -c ostree-push -l json -d 'Print the result as JSON'
complete -c ostree-push -s q -l quiet -d 'Show warnings and errors only'
complete -c ostree-push -s v -l verbose -d 'Show what is being done'
complete -c ostree-push -l version -d 'Show the version'
complete -c ostree-push -n 'test -z (__ostree_push_operands | string collect)' -a '(__fish_print_hostnames | string replace -r \$ :)' -d Host
complete -c ostree-push -n 'test -n (__ostree_push_operands | string collect)' -a '(__ostree_push_refs)' -d 'Local ref'
