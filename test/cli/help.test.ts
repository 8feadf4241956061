import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { createProgram } from '../../cli/program.ts';
import { cliReference, commandsOf, kubectlReference } from '../../cli/reference.ts';
import { sidekey } from './sidekey.ts';

const COMMANDS = commandsOf(createProgram(() => {}));
const reference = cliReference();

test('docs/reference/cli.md is current', async () => {
  await expect(reference).toMatchFileSnapshot('../../docs/reference/cli.md');
});

test('docs/reference/kubectl.md is current, and calls nothing by the name it has on one machine', async () => {
  const plugin = kubectlReference();
  expect(plugin).not.toMatch(/^(Usage: | {2})sidekey /m);
  for (const section of plugin.split('\n## ').slice(1)) expect(section).toContain('\nExamples:\n  kubectl sidekey');
  await expect(plugin).toMatchFileSnapshot('../../docs/reference/kubectl.md');
});

test.for(COMMANDS.map(({ words }) => words))('%s --help prints what the reference has', async (words) => {
  const result = await sidekey([...words.split(' ').slice(1), '--help']);
  expect(result).toMatchObject({ code: 0, stderr: '' });
  expect(reference).toContain(`## ${words}\n\n\`\`\`text\n${result.stdout.trimEnd()}\n\`\`\``);
});

test.for(COMMANDS)(
  '$words teaches by example, tells its exit codes, and has -o json where it has results',
  ({ words, command }) => {
    const section = reference.split(`\n## ${words}\n`)[1]!.split('\n## ')[0]!;
    expect(section).toContain('\nExamples:\n  ');
    expect(section).toContain('\nExit codes:\n  ');
    const isGroup = command.commands.length > 0;
    if (!isGroup && command.name() !== 'completion') expect(section).toContain('-o, --output');
  },
);

test('a wrong command is a usage error with a suggestion', async () => {
  expect(await sidekey(['rnu'])).toMatchObject({ code: 2, stderr: expect.stringContaining('Did you mean run?') });
  expect(await sidekey([])).toMatchObject({ code: 2 });
  expect(await sidekey(['credential'])).toMatchObject({ code: 2 });
  expect(await sidekey(['--version'])).toMatchObject({ code: 0, stdout: '0.1.0\n' });
});

test('completion knows every command, and its scripts are sound', async () => {
  for (const shell of ['bash', 'zsh']) {
    const { stdout } = await sidekey(['completion', shell]);
    for (const { words } of COMMANDS.slice(1)) expect(stdout).toContain(`'${words.replace('sidekey ', '')}') words=`);
  }
  const { stdout } = await sidekey(['completion', 'bash']);
  const ask = (...words: string[]) =>
    execFileSync('bash', [
      '-c',
      `${stdout}\nCOMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length - 1}; _sidekey; echo "\${COMPREPLY[@]}"`,
    ]).toString();
  expect(ask('sidekey', 'cred')).toBe('credential\n');
  expect(ask('sidekey', 'credential', 's')).toContain('set');
  expect(ask('sidekey', 'run', '--eg')).toBe('--egress\n');
});

// Where there is no zsh, what bash does with the same words has to do.
if (hasZsh())
  test('completion loads in zsh', async () => {
    const { stdout } = await sidekey(['completion', 'zsh']);
    const zsh = (script: string) => execFileSync('zsh', ['-fc', script], { input: '' }).toString();
    const load = `autoload -Uz compinit && compinit -D -u && source =(cat <<'END'\n${stdout}\nEND\n)`;
    expect(zsh(`${load}; print $_comps[sidekey]`)).toBe('_sidekey\n');
    const ask = (...words: string[]) =>
      zsh(
        `${load}; compadd() { shift; print -- $* }; _files() { }; words=(${words.join(' ')}); CURRENT=${words.length}; PREFIX=-; _sidekey`,
      );
    expect(ask('sidekey', 'cred').split(/\s/)).toContain('credential');
    expect(ask('sidekey', 'credential', 's').split(/\s/)).toContain('set');
    expect(ask('sidekey', 'run', '--eg').split(/\s/)).toContain('--egress');
  });

function hasZsh(): boolean {
  try {
    execFileSync('zsh', ['-fc', '']);
    return true;
  } catch {
    return false;
  }
}
