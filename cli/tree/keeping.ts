import { type Command, Option } from 'commander';
import type { RestoreFlags } from '../commands/backup.ts';
import { Context } from '../context.ts';
import { EXIT } from '../exitCodes.ts';
import { helpTail } from '../help.ts';
import { dirOption, KEK_PLACE_HELP, type KekFlags, kekOptions, outputOption } from '../options.ts';

interface Flags {
  dir?: string;
  output?: string;
}

const EXITS = [EXIT.ok, EXIT.failed, EXIT.usage, EXIT.notRunning];

/** `backup`, `restore` and `ca`: what keeps a store going for years. */
export function addKeeping(program: Command): void {
  addBackup(program);
  addRestore(program);
  addCa(program);
}

/** Also of `kubectl sidekey`. */
export function addBackup(program: Command): void {
  program
    .command('backup')
    .summary('write a sealed backup of the store')
    .description('Writes everything that the store holds into one sealed file, while it goes on working.')
    .argument('<FILE>', 'must not be there yet')
    .addOption(
      new Option('--under <KEY>', 'what seals it: a passphrase, typed unseen or from standard input, or the KEK')
        .choices(['passphrase', 'kek'])
        .default('passphrase'),
    )
    .addOption(dirOption())
    .addOption(outputOption('yaml'))
    .addHelpText(
      'after',
      helpTail({
        about:
          'By a passphrase it can be restored anywhere, without the KEK; under the KEK only where that is. Sessions are not in it.',
        examples: [
          ['sidekey backup /backup/sidekey-monday', 'asks for a passphrase'],
          ['sidekey backup --under kek /backup/sidekey-monday', 'for a timer: no secret to hand over'],
        ],
        exits: EXITS,
      }),
    )
    .action(async (file: string, flags: Flags & { under: 'passphrase' | 'kek' }) => {
      const { backUp } = await import('../commands/backup.ts');
      await backUp(new Context(flags), file, flags);
    });
}

function addRestore(program: Command): void {
  const restoring = program
    .command('restore')
    .summary('put the store into the state of a backup')
    .description(
      'Puts the store, which must not run, into the state of a backup. Sessions of before are void, revocations stay.',
    )
    .argument('<FILE>', 'as `sidekey backup` wrote it')
    .option('--force', 'replace the store that is there, and take over from it what was revoked since the backup')
    .option('--dry-run', 'only check the file and say what is in it')
    .option('--database-url-file <FILE>', 'into the PostgreSQL database whose URL this file holds, which must be empty')
    .option(
      '--replaced-database-url-file <FILE>',
      'take over what was revoked since the backup from the PostgreSQL database whose URL this file holds',
    );
  for (const option of kekOptions()) restoring.addOption(option);
  restoring
    .addOption(dirOption())
    .addOption(outputOption('yaml'))
    .addHelpText(
      'after',
      helpTail({
        about: [
          'SIDEKEY_DATABASE_URL=postgres://… does what --database-url-file does; commands that come later go there too.',
          'What comes out is under the key at --kek, and a backup under the KEK is opened by it.',
          ...KEK_PLACE_HELP,
        ].join('\n'),
        examples: [
          ['sidekey restore --dry-run /backup/sidekey-monday', 'is it whole, and what is in it'],
          ['sidekey restore --dir agents --force /backup/sidekey-monday', ''],
          [
            'sidekey restore --dir agents --kek secret:/run/kek /backup/sidekey-monday',
            'under keys of a mounted Secret',
          ],
          [
            'sidekey restore --database-url-file new --replaced-database-url-file old /backup/sidekey-monday',
            'what old revoked stays revoked',
          ],
        ],
        exits: [EXIT.ok, EXIT.failed, EXIT.usage, EXIT.notRunning, EXIT.refused],
      }),
    )
    .action(async (file: string, flags: Flags & KekFlags & RestoreFlags) => {
      const { restore } = await import('../commands/backup.ts');
      await restore(new Context(flags), file, flags);
    });
}

/** Also of `kubectl sidekey`. */
export function addCa(program: Command): void {
  const ca = program
    .command('ca')
    .summary("show and rotate the store's own CA")
    .description('Shows and rotates the CA by which store, sidecars and operator know each other.')
    .addHelpText(
      'after',
      helpTail({
        examples: [
          ['sidekey ca status', ''],
          ['sidekey ca rotate', ''],
        ],
        exits: EXITS,
      }),
    );
  ca.command('status')
    .description(
      'Shows roots and intermediates: how old they are, when they rotate, how many certificates stand under them.',
    )
    .addOption(dirOption())
    .addOption(outputOption('yaml'))
    .addHelpText('after', helpTail({ examples: [['sidekey ca status -o json', '']], exits: EXITS }))
    .action(async (flags: Flags) => {
      const { caStatus } = await import('../commands/ca.ts');
      await caStatus(new Context(flags));
    });
  ca.command('rotate')
    .description('Lets a new intermediate issue from now on. No connection fails.')
    .option('--root', 'change the root instead, which takes about two lifetimes of a certificate (2 h)')
    .addOption(dirOption())
    .addOption(outputOption('yaml'))
    .addHelpText(
      'after',
      helpTail({
        examples: [
          ['sidekey ca rotate', 'the intermediate, at once'],
          ['sidekey ca rotate --root', 'see how it goes on with `sidekey ca status`'],
        ],
        exits: EXITS,
      }),
    )
    .action(async (flags: Flags & { root?: boolean }) => {
      const { rotateCa } = await import('../commands/ca.ts');
      await rotateCa(new Context(flags), flags);
    });
}
