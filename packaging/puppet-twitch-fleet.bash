# Completion of puppet-twitch-fleet(1) for bash; needs no function of the package bash-completion.
# shellcheck shell=bash

_puppet_twitch_fleet() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]} words=
    local who="--nodes --query --from --only --affected-by --or-all --exclude --exclude-nodes --limit
        --address-fact"
    local whom="--cert --key --ca --token-file --port --plain-http --clear-text-token"
    local servers="--puppetdb --puppetserver"
    local outcomes="unchanged changed pending failed interrupted not-attempted unproven late lost disabled
        refused unreachable not-started remaining"
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        words="run plan status disable enable cancel log show --help --version"
    else
        case $command in
            run)
                words="$who $whom $servers --noop --tags --environment --no-queue --label --at-once --one-per
                    --canary --confirm --seed --yes --follow --max-failures --max-unreachable
                    --count-old-failures --stop-on-surprise --timeout --until --exit-pending --json --junit
                    --html --remaining --quiet --values"
                ;;
            plan) words="$who $whom $servers --environment --at-once --no-nodes --json" ;;
            status) words="$who $whom $servers --environment --count --json" ;;
            disable) words="$who $whom $servers --reason --for --wait --force --at-once --yes --json" ;;
            enable) words="$who $whom $servers --force --at-once --yes --json" ;;
            cancel) words="$who $whom $servers --wait --force --at-once --yes --json" ;;
            log) words="$who $whom $servers --run -f --follow --level --json" ;;
            show) words="--json --names --html --junit new before fixed uncertain $outcomes" ;;
            *) return ;;
        esac
        words+=" --help"
        [[ $command != run && $before == --json ]] && before=
        case $before in
            --nodes | --from | --affected-by | --exclude-nodes | --cert | --key | --ca | --token-file | --json | --junit | --html | --remaining)
                compopt -o filenames
                mapfile -t COMPREPLY < <(compgen -f -- "$word")
                return
                ;;
            show)
                compopt -o filenames
                mapfile -t COMPREPLY < <(compgen -f -W "$words" -- "$word")
                return
                ;;
            --only)
                mapfile -t COMPREPLY < <(compgen -W "$outcomes" -- "$word")
                return
                ;;
            --level)
                mapfile -t COMPREPLY < <(compgen -W "emerg alert crit err warning notice info debug" -- "$word")
                return
                ;;
            --puppetdb | --puppetserver)
                mapfile -t COMPREPLY < <(compgen -W "none" -- "$word")
                return
                ;;
            --run)
                mapfile -t COMPREPLY < <(compgen -W "current last" -- "$word")
                return
                ;;
            # -f of log has no value.
            --follow)
                if [[ $command == run ]]; then
                    mapfile -t COMPREPLY < <(compgen -W "nodes puppetdb" -- "$word")
                    return
                fi
                ;;
            # A value that nobody but the caller knows.
            --query | --limit | --address-fact | --port | --tags | --environment | --label | --at-once | --one-per | \
                --canary | --seed | --max-failures | --max-unreachable | --timeout | --until | --reason | --for | --wait) return ;;
        esac
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}

complete -F _puppet_twitch_fleet puppet-twitch-fleet
