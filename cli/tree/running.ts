import { type Command, Option } from 'commander';
import { Context } from '../context.ts';
import { EXIT } from '../exitCodes.ts';
import { helpTail } from '../help.ts';
import {
  dirOption,
  egressOf,
  KEK_PLACE_HELP,
  type KekFlags,
  kekOptions,
  outputOption,
  portOf,
  type SubjectFlags,
  storeUrlsOf,
  subjectOf,
  subjectOptions,
} from '../options.ts';

/** `up` and `run`: what keeps processes going. */
export function addRunning(program: Command, onExit: (code: number) => void): void {
  const starting = program
    .command('up')
    .summary('run the store and the operator on a folder')
    .description(
      'Runs the store and the operator on a folder of Credential and Integration YAML, and shows what is in force.',
    )
    .argument('<DIR>', 'the folder; its state goes into DIR/.sidekey')
    .option('--port <PORT>', 'port of the store on 127.0.0.1; 0 for any (default: the one of the last time)')
    .option('--database-url-file <FILE>', 'keep the store in the PostgreSQL database whose URL this file holds')
    .option('--metrics-port <PORT>', 'serve /metrics, /healthz and /readyz of the store on 127.0.0.1; 0 for any port')
    .option('--no-operator', 'only the store: for further replicas, whose objects another one puts into force');
  for (const option of kekOptions()) starting.addOption(option);
  starting
    .addOption(outputOption())
    .addHelpText(
      'after',
      helpTail({
        about: [
          'Saved files take effect at once. The first start makes DIR/.sidekey (for you alone) with a new key, which encrypts all that the',
          'store holds: keep a copy of DIR/.sidekey/kek, without it the store is lost. Ctrl-C stops; running agents then use what they hold',
          'until their leases end. A part that crashes is started again. With -o json, every event is one JSON object a line.',
          '',
          'The URL of a database (postgres://USER:PASSWORD@HOST/NAME) may also be in SIDEKEY_DATABASE_URL, never in an argument. Commands that',
          'come after go to the same database: the file, not the URL, is remembered in DIR/.sidekey/database.json.',
          '',
          ...KEK_PLACE_HELP,
          'It is remembered too, in DIR/.sidekey/kek.places.json. For a store that there is, it names where its keys are; `sidekey kek rotate',
          '--to` moves them.',
        ].join('\n'),
        examples: [
          ['sidekey up agents', 'until Ctrl-C'],
          ['sidekey up agents --port 7443', 'the store on a port of your choice'],
          ['sidekey up replica --no-operator --database-url-file url', 'a second store on the same database'],
          ['sidekey up agents --kek secret:/run/secrets/sidekey-kek', 'the key from a mounted Secret'],
          ['sidekey up agents -o json | jq .event', 'for programs'],
        ],
        exits: [EXIT.ok, EXIT.failed, EXIT.usage],
      }),
    )
    .action(async (dir: string, flags: UpFlags) => {
      const [{ up }, { kekPlaceOf }] = await Promise.all([import('../commands/up.ts'), import('../kekPlace.ts')]);
      const context = new Context({ dir, output: flags.output });
      const { databaseUrlFile, metricsPort, operator, port } = flags;
      await up(context, dir, {
        port: port === undefined ? undefined : portOf(port),
        databaseUrlFile,
        metricsPort: metricsPort === undefined ? undefined : portOf(metricsPort, '--metrics-port'),
        kek: kekPlaceOf(context.cwd, { ...flags, place: flags.kek }, '--kek'),
        operator,
      });
    });

  const run = program
    .command('run')
    .summary('run a command as an agent behind a sidecar')
    .description('Runs a command as an agent: behind a sidecar of its own, with placeholders instead of credentials.')
    .usage('[options] -- CMD [ARG...]')
    .argument('[command...]', 'the command and its arguments')
    .passThroughOptions();
  for (const option of subjectOptions()) run.addOption(option);
  run
    .addOption(dirOption())
    .option(
      '--store <URLS>',
      'further replicas of the store, with commas between, for when the one of the folder fails',
    )
    .option('--extra-ca <FILE>', 'PEM file of CAs to trust besides those of this machine')
    .option('--keep-env', 'leave variables that look like real keys as they are')
    .option('--user <USER>', 'user that the agent runs as: a name or number, USER:GID for a group (only as root)')
    .addOption(new Option('-o, --output <FORMAT>', 'how our own lines on standard error are printed').choices(['json']))
    .addHelpText(
      'after',
      helpTail({
        about: [
          'The agent gets HTTP(S)_PROXY for the sidecar, CA variables of the common runtimes, a placeholder in the well-known variables of',
          'granted credentials (OPENAI_API_KEY, GITHUB_TOKEN, …) and as SIDEKEY_CREDENTIAL_<NAME>, and base URLs as SIDEKEY_<ALIAS>_URL.',
          'A proxy of yours becomes the proxy that the sidecar goes through. A variable that holds what looks like a real key for a covered',
          'host is replaced by a placeholder, with a warning. Signals are passed on; when the agent ends, its session ends.',
          '',
          'Started by you, agent and store are the same user: the credential stays out of its hands, not out of its reach. Started by root,',
          'the agent runs as --user, else as whoever called sudo, else as nobody (65534), who can read neither the state nor any memory',
          'of ours; so the command and its files must be readable by that user.',
        ].join('\n'),
        examples: [
          ['sidekey run --tag llm -- python3 agent.py', ''],
          ['sidekey run --role researcher --tag llm --tag web --egress closed -- node agent.js', 'only covered hosts'],
          ['sidekey run --tag llm -- sh -c \'curl "$SIDEKEY_OPENAI_URL/v1/models"\'', 'by base URL'],
          ['sudo sidekey run --user agent --tag code -- git push', 'as another user'],
        ],
        exits: [EXIT.runFailed, EXIT.notExecutable, EXIT.notFound],
      }),
    )
    .action(async (command: string[], flags: RunFlags) => {
      const { run: runCommand } = await import('../commands/run.ts');
      const options = {
        subject: subjectOf(flags),
        egress: egressOf(flags),
        keepEnv: flags.keepEnv ?? false,
        stores: storeUrlsOf(flags.store),
        extraCa: flags.extraCa,
        user: flags.user,
      };
      onExit(await runCommand(new Context(flags), command, options));
    });
}

interface UpFlags extends KekFlags {
  port?: string;
  databaseUrlFile?: string;
  metricsPort?: string;
  operator: boolean;
  output?: string;
}

interface RunFlags extends SubjectFlags {
  dir?: string;
  output?: string;
  store?: string;
  extraCa?: string;
  keepEnv?: boolean;
  user?: string;
}
