import type { Command } from 'commander';
import { asPlugin, createKubectlProgram } from './kubectlProgram.ts';
import { createProgram } from './program.ts';

const HEAD = `# The \`sidekey\` command

<!-- Written from the command tree by \`make goldens\`; a test checks that it is current. -->

Results go to standard output, all else to standard error. Colours appear only on a terminal and not with \`NO_COLOR\`; what takes
more than two seconds shows its progress there. Errors say what happened, where, and what to do next. With \`-o json\` results and
errors are JSON.

| variable | meaning |
|---|---|
| \`SIDEKEY_DIR\` | the folder of objects, as \`--dir\` |
| \`NO_COLOR\` | no colours |
| \`HTTP_PROXY\`, \`HTTPS_PROXY\`, \`ALL_PROXY\`, \`NO_PROXY\` | a proxy of yours, which the sidecar goes through |
`;

/** docs/reference/cli.md: the help of every command, as it is printed. */
export function cliReference(): string {
  const root = createProgram(() => {});
  return [HEAD, ...commandsOf(root).map(({ words, command }) => section(words, command))].join('\n');
}

const KUBECTL_HEAD = `# The \`kubectl sidekey\` command

<!-- Written from the command tree by \`make goldens\`; a test checks that it is current. -->

The same command line for a cluster: put \`bin/kubectl-sidekey\` on the \`PATH\`. It finds Sidekey by the kubeconfig, as kubectl does; \`--context\`, \`--kubeconfig\` and
\`--system-namespace\` may stand on any command. Results go to standard output, all else to standard error; with \`-o json\` results and errors are JSON.
`;

/** docs/reference/kubectl.md: the same of the plug-in. */
export function kubectlReference(): string {
  const all = commandsOf(createKubectlProgram({}), 'kubectl sidekey');
  return [KUBECTL_HEAD, ...all.map(({ words, command }) => asPlugin(section(words, command)))].join('\n');
}

/** Every command with the words that call it, the root first. */
export function commandsOf(command: Command, words = command.name()): { words: string; command: Command }[] {
  const subs = visibleOf(command);
  return [{ words, command }, ...subs.flatMap((sub) => commandsOf(sub, `${words} ${sub.name()}`))];
}

/** Those that help shows. */
export function visibleOf(command: Command): Command[] {
  return (command.createHelp().visibleCommands(command) as Command[]).filter((sub) => sub.name() !== 'help');
}

function section(words: string, command: Command): string {
  return `## ${words}\n\n\`\`\`text\n${helpText(command).trimEnd()}\n\`\`\`\n`;
}

/** What `--help` prints, with what was added after it. */
export function helpText(command: Command): string {
  let text = '';
  command.configureOutput({
    ...command.configureOutput(),
    writeOut: (chunk) => {
      text += chunk;
    },
    getOutHasColors: () => false,
  });
  command.outputHelp();
  return text;
}
