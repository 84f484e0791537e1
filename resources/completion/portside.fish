# fish completion for portside
function __portside_complete
    set -l words (commandline -opc) (commandline -ct)
    portside __complete $words[2..-1] 2>/dev/null
end
complete -c portside -f -a '(__portside_complete)'
