import { EXIT } from './exitCodes.ts';

const MEANING: Readonly<Record<number, string>> = {
  [EXIT.ok]: 'done',
  [EXIT.failed]: 'failed; the message says what happened and what to do next',
  [EXIT.usage]: 'wrong arguments',
  [EXIT.notRunning]: 'nothing runs on the folder, or it cannot be reached',
  [EXIT.refused]: 'refused, or the check failed',
  [EXIT.runFailed]: 'sidekey itself failed (also wrong arguments, and nothing running)',
  [EXIT.notExecutable]: 'the command cannot be executed',
  [EXIT.notFound]: 'there is no such command',
};

/** What comes after the options in every help text: how it is used, by example, and what its exit codes say. */
export function helpTail(help: {
  about?: string;
  examples: readonly (readonly [string, string])[];
  exits: readonly number[];
}): string {
  const width = Math.max(...help.examples.map(([line]) => line.length));
  const examples = help.examples.map(([line, what]) =>
    what === '' ? `  ${line}` : `  ${line.padEnd(width)}   # ${what}`,
  );
  const exits = help.exits.map((code) => `  ${String(code).padEnd(3)} ${MEANING[code]}`);
  if (help.exits.includes(EXIT.runFailed))
    exits.unshift("  the command's own, or 128 and the signal number if a signal ended it; besides:");
  return [
    '',
    ...(help.about === undefined ? [] : [help.about, '']),
    'Examples:',
    ...examples,
    '',
    'Exit codes:',
    ...exits,
  ].join('\n');
}
