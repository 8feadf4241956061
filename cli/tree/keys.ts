import type { Command } from 'commander';
import { Context } from '../context.ts';
import { EXIT } from '../exitCodes.ts';
import { helpTail } from '../help.ts';
import { dirOption, KEK_PLACE_HELP, outputOption } from '../options.ts';

interface Flags {
  dir?: string;
  output?: string;
}

interface RotateFlags extends Flags {
  to?: string;
  tokenFile?: string;
  caFile?: string;
  namespace?: string;
}

const EXITS = [EXIT.ok, EXIT.failed, EXIT.usage, EXIT.notRunning, EXIT.refused];

/** `kek`: the keys that everything else in the store is encrypted under. */
export function addKeys(program: Command): void {
  const kek = program
    .command('kek')
    .summary('rotate and inspect the key encryption key')
    .description('Shows and rotates the key that all other keys of the store are wrapped by.')
    .addHelpText(
      'after',
      helpTail({
        examples: [
          ['sidekey kek status', 'which keys there are, and what is under each'],
          ['sidekey kek rotate', 'a new one, while the store serves'],
        ],
        exits: EXITS,
      }),
    );
  kek
    .command('status')
    .description('Shows the keys, how old they are and what is under each; and why, if the store is sealed.')
    .addOption(dirOption())
    .addOption(outputOption('yaml'))
    .addHelpText(
      'after',
      helpTail({
        about: 'While nothing runs, the store is started for the moment. A sealed store exits with 4.',
        examples: [
          ['sidekey kek status', ''],
          ['sidekey kek status -o json | jq .sealed', ''],
        ],
        exits: EXITS,
      }),
    )
    .action(async (flags: Flags) => {
      const { kekStatus } = await import('../commands/kek.ts');
      await kekStatus(new Context(flags));
    });
  kek
    .command('rotate')
    .description('Makes a new key and brings everything under it, while the store serves; then forgets the old one.')
    .option('--to <PLACE>', 'where the new key is to be (default: where the present one is)')
    .option('--token-file <FILE>', 'of transit: the token, read anew for each request')
    .option('--ca-file <FILE>', 'of transit: PEM of the CA of the server')
    .option('--namespace <NS>', 'of transit: the namespace that the engine is in')
    .addOption(dirOption())
    .addOption(outputOption())
    .addHelpText(
      'after',
      helpTail({
        about: [
          ...KEK_PLACE_HELP,
          'A rotation that is cut short goes on when the store starts again, and when this is called again. When it is done, copies of the',
          'database from before need the old key, which a key file does not hold any more: take a new backup.',
        ].join('\n'),
        examples: [
          ['sidekey kek rotate', ''],
          ['sidekey kek rotate --to transit:https://vault:8200/transit/sidekey --token-file token', 'to a KMS'],
          ['sidekey kek rotate --to file', 'and back'],
        ],
        exits: EXITS,
      }),
    )
    .action(async (flags: RotateFlags) => {
      const { rotateKek } = await import('../commands/kek.ts');
      await rotateKek(new Context(flags), flags);
    });
}
