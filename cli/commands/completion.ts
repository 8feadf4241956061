import type { Command } from 'commander';
import type { Context } from '../context.ts';
import { usageError } from '../errors.ts';

/** Prints a completion script made from the command tree, for the shell to source. */
export function completion(context: Context, root: Command, shell: string): void {
  if (shell !== 'bash' && shell !== 'zsh')
    throw usageError(`there is no completion for ${shell}`, 'it exists for bash and zsh');
  context.print(shell === 'bash' ? bash(root) : zsh(root));
}

interface Level {
  /** Such as `credential set`; empty for the root. */
  path: string;
  words: string[];
}

/** What may follow each command: its subcommands and its options. */
function levels(command: Command, path = ''): Level[] {
  const visible = command.commands.filter((sub) => sub.name() !== 'help');
  const words = [
    ...visible.map((sub) => sub.name()),
    ...command.options.filter((option) => !option.hidden).map((option) => option.long ?? option.short ?? ''),
    '--help',
  ];
  return [
    { path, words: [...new Set(words)] },
    ...visible.flatMap((sub) => levels(sub, `${path} ${sub.name()}`.trim())),
  ];
}

function cases(root: Command): string {
  return levels(root)
    .map(({ path, words }) => `    '${path}') words='${words.join(' ')}' ;;`)
    .join('\n');
}

function bash(root: Command): string {
  return `# Completion of sidekey for bash: source <(sidekey completion bash)
_sidekey() {
  local cur=\${COMP_WORDS[COMP_CWORD]} path='' word words=''
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case $word in
      --) COMPREPLY=($(compgen -c -f -- "$cur")); return ;;
      -*) ;;
      *) _sidekey_words "$path\${path:+ }$word" && path="$path\${path:+ }$word" ;;
    esac
  done
  _sidekey_words "$path"
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
  case $cur in -*) ;; *) COMPREPLY+=($(compgen -f -- "$cur")) ;; esac
}
_sidekey_words() {
  case $1 in
${cases(root)}
    *) return 1 ;;
  esac
}
complete -o filenames -F _sidekey sidekey`;
}

function zsh(root: Command): string {
  return `#compdef sidekey
# Completion of sidekey for zsh: source <(sidekey completion zsh)
_sidekey() {
  local cmd='' word words_of=''
  for word in "\${(@)words[2,CURRENT-1]}"; do
    case $word in
      --) _normal; return ;;
      -*) ;;
      *) _sidekey_words "$cmd\${cmd:+ }$word" && cmd="$cmd\${cmd:+ }$word" ;;
    esac
  done
  _sidekey_words "$cmd"
  compadd -- \${=words_of}
  [[ $PREFIX == -* ]] || _files
}
_sidekey_words() {
  local words
  case $1 in
${cases(root)}
    *) return 1 ;;
  esac
  words_of=$words
}
(( $+functions[compdef] )) && compdef _sidekey sidekey`;
}
