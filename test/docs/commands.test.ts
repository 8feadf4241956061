import type { Command } from 'commander';
import { expect, test } from 'vitest';
import { createKubectlProgram } from '../../cli/kubectlProgram.ts';
import { createProgram } from '../../cli/program.ts';
import { visibleOf } from '../../cli/reference.ts';
import { blocksOf, inlineCodeOf, type Page, pages } from './pages.ts';

/** `sidekey` where a command begins, and its words up to where the shell, a comment or the page takes over; not where it is what others work on. */
const CALL =
  /(?:^|[\s('"=])(?<!(?:helm|docker|kubectl)\b[^\n`]*)((?:kubectl )?)(?:[\w.$~/-]*\/)?sidekey((?:[ \t]+[^\s|;&<>#()…]+)+)/gm;
const program = createProgram(() => {});
const plugin = createKubectlProgram({});

/** What is wrong with a call, or undefined. */
function problemOf(call: string): string | undefined {
  const words = call.trim().split(/\s+/);
  const isPlugin = words[0] === 'kubectl';
  if (isPlugin) words.shift();
  let command: Command = isPlugin ? plugin : program;
  while (words.length > 0 && command.commands.length > 0 && !words[0]!.startsWith('-')) {
    const name = words.shift()!;
    const next = command.commands.find((sub) => sub.name() === name);
    if (next === undefined) return `${isPlugin ? 'kubectl ' : ''}${command.name()} has no command ${name}`;
    command = next;
  }
  const end = words.indexOf('--');
  for (const word of end < 0 ? words : words.slice(0, end)) {
    const flag = word.replace(/=.*/, '').replace(/[.,'"]$/, '');
    if (!/^--?[a-z]/.test(flag) || flag === '--help') continue;
    const known = command.options.some((option) => option.long === flag || option.short === flag);
    if (!known && !(command === program && flag === '--version'))
      return `sidekey ${command.name()} has no option ${flag}`;
  }
  return undefined;
}

function callsOf(page: Page): string[] {
  const code = blocksOf(page)
    .filter(({ language }) => ['', 'sh', 'ini', 'text'].includes(language))
    .map(({ text }) => text.replaceAll('\\\n', ' '));
  return [...code, ...inlineCodeOf(page)].flatMap((text) =>
    [...text.matchAll(CALL)].map((match) => `${match[1]}${match[2]}`),
  );
}

const PAGES = pages().filter(({ path }) => !['docs/reference/cli.md', 'docs/reference/kubectl.md'].includes(path));

test('calls are found in blocks and in text, and what does not exist is told', () => {
  const page = {
    path: 'x.md',
    text: '`kubectl sidekey nope`, `helm upgrade sidekey x`, `sidekey nope` and `sidekey run --tagg llm -- ls --all`\n```\n$ sidekey get -o wide # x\n```\n',
  };
  expect(callsOf(page)).toEqual([' get -o wide', 'kubectl  nope', ' nope', ' run --tagg llm -- ls --all']);
  expect(callsOf(page).map(problemOf)).toEqual([
    undefined,
    'kubectl sidekey has no command nope',
    'sidekey has no command nope',
    'sidekey run has no option --tagg',
  ]);
});

test.for(PAGES)('$path names only commands and options that exist', (page) => {
  expect(
    callsOf(page)
      .map((call) => problemOf(call))
      .filter((problem) => problem !== undefined),
  ).toEqual([]);
});

test('the guides show every command', () => {
  const guides = PAGES.filter(({ path }) => ['README.md', 'docs/quickstart.md', 'docs/how-to.md'].includes(path));
  const shown = new Set(guides.flatMap(callsOf).map((call) => call.trim().split(/\s+/)[0]!));
  const commands = visibleOf(program).map((command) => command.name());
  expect([...shown].sort()).toEqual(expect.arrayContaining(commands.sort()));
});
