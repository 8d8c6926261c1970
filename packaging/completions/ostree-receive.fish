# Completion for fish: options and directories.
for program in ostree-receive ostree-receive-1
    complete -c $program -s h -l help -d 'Show the options, with examples'
    complete -c $program -s n -l dry-run -d 'Only show what would be done'
    complete -c $program -s f -l force -d 'Receive even if nothing changed'
    complete -c $program -l no-update -d 'Leave the metadata of the repository alone'
    complete -c $program -l print-config -d 'Print the configuration'
    complete -c $program -l update -d 'Sign commits and update the metadata, without receiving'
    complete -c $program -s q -l quiet -d 'Show warnings and errors only'
    complete -c $program -s v -l verbose -d 'Show what is being done'
    complete -c $program -l version -d 'Show the version'
end
