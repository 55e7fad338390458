# Completion of puppet-twitch(1) for bash; needs no function of the package bash-completion.
# shellcheck shell=bash

_puppet_twitch_runs() {
    local file
    # Only root can read these directories; for others the patterns stay as they are.
    for file in "$@"; do
        file=${file##*/}
        [[ $file == *'*'* ]] || echo "${file%.json}"
    done
}

# A package of its own, with a completion of its own.
_puppet_twitch_to_fleet() {
    local file=/usr/share/bash-completion/completions/puppet-twitch-fleet
    # shellcheck source=packaging/puppet-twitch-fleet.bash
    declare -F _puppet_twitch_fleet >/dev/null || { [[ -r $file ]] && source "$file"; } || return 0
    COMP_WORDS=(puppet-twitch-fleet "${COMP_WORDS[@]:2}")
    ((COMP_CWORD -= 1))
    _puppet_twitch_fleet
}

_puppet_twitch() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]} words=
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        words="status runs run log trigger cancel disable enable metrics fleet check token listen --help --version"
    else
        case $command in
            status) words="--json --brief --check --max-age" ;;
            runs) words="-n --failed --json" ;;
            run) words="--wait --json" ;;
            log) words="-f --follow --level --tail --json" ;;
            trigger) words="--follow --wait --queue --noop --tags --environment --label" ;;
            cancel) words="--wait --force" ;;
            disable) words="--for --wait --force" ;;
            enable) words="--force" ;;
            metrics) words="--output" ;;
            check) words="--json --quiet --config" ;;
            token) words="--expires" ;;
            listen) words="--bind --port --idle-exit --debug" ;;
            fleet)
                _puppet_twitch_to_fleet
                return
                ;;
            *) return ;;
        esac
        words+=" --help"
        case $before in
            --config | --output)
                compopt -o filenames
                mapfile -t COMPREPLY < <(compgen -f -- "$word")
                return
                ;;
            --level)
                mapfile -t COMPREPLY < <(compgen -W "emerg alert crit err warning notice info debug" -- "$word")
                return
                ;;
            # A value that nobody but the caller knows.
            -n | --max-age | --tail | --tags | --environment | --label | --for | --expires | --bind | --port | --idle-exit) return ;;
        esac
        case $command in
            run | log) [[ $word == -* ]] || words="$(_puppet_twitch_runs {/run,/var/lib}/puppet-twitch/runs/*.json) current last" ;;
            # A run that has ended cannot be cancelled.
            cancel) [[ $word == -* ]] || words="$(_puppet_twitch_runs /run/puppet-twitch/runs/*.json) current" ;;
        esac
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}

complete -F _puppet_twitch puppet-twitch
