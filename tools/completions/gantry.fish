# fish completion for gantry and gantry-VERB. What there is to complete is read from --help, so it is never stale.

# The words of the command that have been typed: the program, the verb, its subcommand.
function __gantry_command
    set -l words (commandline -opc)
    set -l plain (string match -r '^[a-z].*' -- $words[2..])
    switch $words[1]
        case gantry '*/gantry'
            set -q plain[1]; and echo -- $words[1] $plain[1] | string split ' '
        case '*'
            echo -- $words[1]
    end
end

function __gantry_plain
    set -l words (commandline -opc)
    set -l plain (string match -r '^[a-z].*' -- $words[2..])
    string match -q -r '(^|/)gantry$' -- $words[1]; and set -e plain[1]
    string join \n -- $plain
end

function __gantry_help
    command -q $argv[1]; and command $argv --help 2>/dev/null
end

# __gantry_section TITLE: "word<TAB>summary" of that section of a --help on stdin.
function __gantry_section
    sed -n "/^$argv[1]:/,/^\$/ s/^  \([a-z][a-z0-9-]*\)  *\(.*\)/\1\t\2/p"
end

function __gantry_options
    sed -n 's/^  \(-[^ ]*\) *\(.*\)/\1\t\2/p' | while read -l line
        set -l parts (string split \t -- $line)
        for name in (string split , -- $parts[1])
            printf '%s\t%s\n' $name $parts[2]
        end
    end
end

function __gantry_complete
    set -l command (__gantry_command)
    if not set -q command[1]
        __gantry_help gantry | __gantry_section Verbs
        return
    end
    switch (commandline -opc)[-1]
        case --insecure-options
            printf '%s\n' image http tls
            return
        case --net --network
            printf '%s\n' host none private
            return
        case --platform
            printf '%s\n' linux/{amd64,arm64,arm/v7,386,ppc64le,riscv64,s390x}
            return
    end
    set -l plain (__gantry_plain)
    set -l subcommands (__gantry_help $command | __gantry_section Subcommands)
    if string match -q -- '-*' (commandline -ct)
        __gantry_help $command | __gantry_options
        if set -q subcommands[1]; and set -q plain[1]
            __gantry_help $command $plain[1] | __gantry_options
        end
    else if set -q subcommands[1]; and not set -q plain[1]
        printf '%s\n' $subcommands
    else
        command -q gantry-store; and command gantry-store list --quiet 2>/dev/null
    end
end

# Before the verb and the subcommand there are no files.
function __gantry_no_files
    set -l command (__gantry_command)
    set -q command[1]; or return 0
    set -l plain (__gantry_plain)
    set -q plain[1]; and return 1
    set -l subcommands (__gantry_help $command | __gantry_section Subcommands)
    set -q subcommands[1]
end

for program in \
    gantry \
    gantry-build \
    gantry-convert \
    gantry-diff \
    gantry-fetch \
    gantry-generate \
    gantry-inspect \
    gantry-keygen \
    gantry-login \
    gantry-logout \
    gantry-oci \
    gantry-push \
    gantry-run \
    gantry-serve \
    gantry-sign \
    gantry-store \
    gantry-sync \
    gantry-tags \
    gantry-trust \
    gantry-verify
    complete -c $program -n __gantry_no_files -f
    complete -c $program -a '(__gantry_complete)'
end
