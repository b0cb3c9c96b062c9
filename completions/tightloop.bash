# bash completion for tightloop
_tightloop() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}
    local command=${COMP_WORDS[1]}
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W 'demo init serve status versions promote rollback learning replay train backup export doctor token bench completion version help' -- "$word"))
        return
    fi
    case $command:$before in
        demo:--seconds|demo:-s) COMPREPLY=(); return ;;
        demo:--lines|demo:-l) COMPREPLY=(); return ;;
        demo:--rate|demo:-r) COMPREPLY=(); return ;;
        demo:--defects) COMPREPLY=(); return ;;
        demo:--delay) COMPREPLY=(); return ;;
        demo:--seed) COMPREPLY=(); return ;;
        demo:--keep|demo:-k) COMPREPLY=($(compgen -d -- "$word")); return ;;
        init:--output|init:-o) COMPREPLY=($(compgen -f -- "$word")); return ;;
        init:--loop|init:-l) COMPREPLY=(); return ;;
        init:--classes|init:-c) COMPREPLY=(); return ;;
        init:--input|init:-i) COMPREPLY=($(compgen -W 'image features' -- "$word")); return ;;
        init:--height) COMPREPLY=(); return ;;
        init:--width) COMPREPLY=(); return ;;
        init:--channels) COMPREPLY=(); return ;;
        init:--features) COMPREPLY=(); return ;;
        init:--model|init:-m) COMPREPLY=($(compgen -f -- "$word")); return ;;
        init:--normalisation) COMPREPLY=(); return ;;
        init:--learning) COMPREPLY=($(compgen -W 'auto continuous campaign off' -- "$word")); return ;;
        init:--journal|init:-j) COMPREPLY=($(compgen -d -- "$word")); return ;;
        serve:--config|serve:-c) COMPREPLY=($(compgen -f -- "$word")); return ;;
        serve:--journal|serve:-j) COMPREPLY=($(compgen -d -- "$word")); return ;;
        serve:--listen|serve:-L) COMPREPLY=(); return ;;
        serve:--ready-fd) COMPREPLY=(); return ;;
        serve:--log) COMPREPLY=($(compgen -W 'debug info warning error' -- "$word")); return ;;
        status:--url|status:-u) COMPREPLY=(); return ;;
        status:--token) COMPREPLY=(); return ;;
        status:--journal|status:-j) COMPREPLY=($(compgen -d -- "$word")); return ;;
        status:--config|status:-c) COMPREPLY=($(compgen -f -- "$word")); return ;;
        status:--loop|status:-l) COMPREPLY=(); return ;;
        versions:--url|versions:-u) COMPREPLY=(); return ;;
        versions:--token) COMPREPLY=(); return ;;
        versions:--journal|versions:-j) COMPREPLY=($(compgen -d -- "$word")); return ;;
        versions:--config|versions:-c) COMPREPLY=($(compgen -f -- "$word")); return ;;
        versions:--loop|versions:-l) COMPREPLY=(); return ;;
        versions:--limit|versions:-n) COMPREPLY=(); return ;;
        promote:--url|promote:-u) COMPREPLY=(); return ;;
        promote:--token) COMPREPLY=(); return ;;
        promote:--journal|promote:-j) COMPREPLY=($(compgen -d -- "$word")); return ;;
        promote:--config|promote:-c) COMPREPLY=($(compgen -f -- "$word")); return ;;
        promote:--loop|promote:-l) COMPREPLY=(); return ;;
        rollback:--url|rollback:-u) COMPREPLY=(); return ;;
        rollback:--token) COMPREPLY=(); return ;;
        rollback:--journal|rollback:-j) COMPREPLY=($(compgen -d -- "$word")); return ;;
        rollback:--config|rollback:-c) COMPREPLY=($(compgen -f -- "$word")); return ;;
        rollback:--loop|rollback:-l) COMPREPLY=(); return ;;
        learning:--url|learning:-u) COMPREPLY=(); return ;;
        learning:--token) COMPREPLY=(); return ;;
        learning:--journal|learning:-j) COMPREPLY=($(compgen -d -- "$word")); return ;;
        learning:--config|learning:-c) COMPREPLY=($(compgen -f -- "$word")); return ;;
        learning:--loop|learning:-l) COMPREPLY=(); return ;;
        replay:--data|replay:-d) COMPREPLY=($(compgen -d -- "$word")); return ;;
        replay:--order|replay:-o) COMPREPLY=(); return ;;
        replay:--holdout) COMPREPLY=($(compgen -d -- "$word")); return ;;
        replay:--delay) COMPREPLY=(); return ;;
        replay:--limit|replay:-n) COMPREPLY=(); return ;;
        replay:--replay) COMPREPLY=(); return ;;
        replay:--seed) COMPREPLY=(); return ;;
        replay:--model|replay:-m) COMPREPLY=($(compgen -f -- "$word")); return ;;
        replay:--normalisation) COMPREPLY=(); return ;;
        replay:--side) COMPREPLY=(); return ;;
        replay:--journal|replay:-j) COMPREPLY=($(compgen -d -- "$word")); return ;;
        replay:--loop|replay:-l) COMPREPLY=(); return ;;
        train:--data|train:-d) COMPREPLY=($(compgen -d -- "$word")); return ;;
        train:--model|train:-m) COMPREPLY=(); return ;;
        train:--output|train:-o) COMPREPLY=($(compgen -f -- "$word")); return ;;
        train:--side) COMPREPLY=(); return ;;
        train:--channels) COMPREPLY=(); return ;;
        train:--epochs|train:-e) COMPREPLY=(); return ;;
        train:--batch|train:-b) COMPREPLY=(); return ;;
        train:--rate|train:-r) COMPREPLY=(); return ;;
        train:--stages) COMPREPLY=(); return ;;
        train:--threads|train:-t) COMPREPLY=(); return ;;
        train:--seed) COMPREPLY=(); return ;;
        backup:--journal|backup:-j) COMPREPLY=($(compgen -d -- "$word")); return ;;
        backup:--config|backup:-c) COMPREPLY=($(compgen -f -- "$word")); return ;;
        backup:--to|backup:-t) COMPREPLY=($(compgen -f -- "$word")); return ;;
        export:--journal|export:-j) COMPREPLY=($(compgen -d -- "$word")); return ;;
        export:--config|export:-c) COMPREPLY=($(compgen -f -- "$word")); return ;;
        export:--loop|export:-l) COMPREPLY=(); return ;;
        export:--to|export:-t) COMPREPLY=($(compgen -d -- "$word")); return ;;
        doctor:--journal|doctor:-j) COMPREPLY=($(compgen -d -- "$word")); return ;;
        doctor:--config|doctor:-c) COMPREPLY=($(compgen -f -- "$word")); return ;;
        token:--file|token:-f) COMPREPLY=($(compgen -f -- "$word")); return ;;
        token:--config|token:-c) COMPREPLY=($(compgen -f -- "$word")); return ;;
        token:--rights|token:-r) COMPREPLY=(); return ;;
        bench:--model|bench:-m) COMPREPLY=($(compgen -f -- "$word")); return ;;
        bench:--size|bench:-s) COMPREPLY=(); return ;;
        bench:--batch|bench:-b) COMPREPLY=(); return ;;
        bench:--threads|bench:-t) COMPREPLY=(); return ;;
        bench:--seconds) COMPREPLY=(); return ;;
    esac
    case $command in
        demo) COMPREPLY=($(compgen -W '--seconds --lines --rate --defects --delay --seed --keep --json --help' -- "$word")) ;;
        init) COMPREPLY=($(compgen -W '--output --loop --classes --input --height --width --channels --template --features --model --keep-head --normalisation --learning --journal --force --json --help' -- "$word")) ;;
        serve) COMPREPLY=($(compgen -W '--config --journal --listen --ready-fd --allow-unauthenticated --log --json --help' -- "$word")) ;;
        status) COMPREPLY=($(compgen -W '--url --token --journal --config --loop --json --help' -- "$word")) ;;
        versions) COMPREPLY=($(compgen -W '--url --token --journal --config --loop --limit --json --help' -- "$word")) ;;
        promote) COMPREPLY=($(compgen -W '--url --token --journal --config --loop --json --help' -- "$word")) ;;
        rollback) COMPREPLY=($(compgen -W '--url --token --journal --config --loop --json --help' -- "$word")) ;;
        learning) COMPREPLY=($(compgen -W 'pause resume --url --token --journal --config --loop --json --help' -- "$word")) ;;
        replay) COMPREPLY=($(compgen -W '--data --order --holdout --delay --limit --replay --seed --model --normalisation --side --verify --journal --loop --json --help' -- "$word")) ;;
        train) COMPREPLY=($(compgen -W '--data --model --output --side --channels --epochs --batch --rate --stages --threads --seed --json --help' -- "$word")) ;;
        backup) COMPREPLY=($(compgen -W '--journal --config --to --json --help' -- "$word")) ;;
        export) COMPREPLY=($(compgen -W '--journal --config --loop --to --json --help' -- "$word")) ;;
        doctor) COMPREPLY=($(compgen -W '--journal --config --json --help' -- "$word")) ;;
        token) COMPREPLY=($(compgen -W 'create list revoke --file --config --rights --json --help' -- "$word")) ;;
        bench) COMPREPLY=($(compgen -W '--model --size --batch --threads --train --layers --seconds --json --help' -- "$word")) ;;
        completion) COMPREPLY=($(compgen -W 'bash zsh fish --help' -- "$word")) ;;
        version) COMPREPLY=($(compgen -W '--json --help' -- "$word")) ;;
        help) COMPREPLY=($(compgen -W '--markdown --help' -- "$word")) ;;
    esac
}
complete -F _tightloop tightloop
