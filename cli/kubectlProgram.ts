import { Command } from 'commander';
import { VERSION } from '../lib/version.ts';
import { type Access, openAccess } from './cluster/access.ts';
import { AdminForward } from './cluster/adminForward.ts';
import type { ClusterFlags } from './cluster/flags.ts';
import { EXIT } from './exitCodes.ts';
import { helpTail } from './help.ts';
import { addAudit } from './tree/audit.ts';
import { addCluster } from './tree/cluster.ts';
import { addSession } from './tree/inspection.ts';
import { addBackup, addCa } from './tree/keeping.ts';
import { addKeys } from './tree/keys.ts';
import { addRevocation } from './tree/revocation.ts';
import { addCredential } from './tree/setup.ts';

/** Commands that ask the store itself, and the same as on one machine. */
const OWNERS = [addSession, addRevocation, addAudit, addCredential, addKeys, addCa, addBackup];

/** The command tree of `kubectl sidekey`: what a cluster has, and what the owner of its store may do. */
export function createKubectlProgram(flags: ClusterFlags): Command {
  const program = new Command('sidekey')
    .usage('[command]')
    .description('Software agents use credentials they never hold, on Kubernetes.')
    .version(VERSION, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'show help')
    .helpCommand('help [command]', 'show help of a command')
    .option('--context <NAME>', 'context of the kubeconfig; on any command')
    .option('--kubeconfig <FILE>', 'the kubeconfig; on any command')
    .option('--system-namespace <NS>', 'where Sidekey is installed, if it is not found by itself; on any command')
    .enablePositionalOptions()
    .showSuggestionAfterError()
    .configureHelp({ sortSubcommands: false, showGlobalOptions: false, helpWidth: 110 })
    .configureOutput({ outputError: () => {}, writeOut: (text) => process.stdout.write(asPlugin(text)) })
    .exitOverride()
    .addHelpText(
      'after',
      helpTail({
        about:
          'Whoever may exec into the pod of the store owns the store: session, revoke, audit, credential, kek, ca and backup need that right.',
        examples: [
          ['kubectl sidekey doctor', 'what is wrong, and what to do'],
          ['kubectl sidekey explain pod/NAME GET https://api.openai.com/v1/models', 'why a request is refused'],
          ['kubectl sidekey revoke namespace agents', 'within a second'],
          ['kubectl sidekey audit query --since 1h', 'who used what'],
        ],
        exits: [EXIT.ok, EXIT.failed, EXIT.usage, EXIT.notRunning, EXIT.refused],
      }),
    );
  let access: Promise<Access> | undefined;
  const open = () => (access ??= openAccess(flags));
  addCluster(program, open);
  const before = new Set(program.commands);
  for (const add of OWNERS) add(program);
  for (const command of program.commands) {
    if (before.has(command) || command.name() === 'help') continue;
    hideDir(command);
    command.hook('preAction', async () => forward(await open()));
  }
  return program;
}

/** The store's socket, where the commands of one machine look for it. */
async function forward(access: Access): Promise<void> {
  const opened = await AdminForward.open(access);
  // However the command ends; what is in the directory is a socket.
  process.on('exit', () => opened.close());
  process.env.SIDEKEY_DIR = opened.folder.path;
  process.env.SIDEKEY_FORWARDED = '1';
}

/** There is no folder. */
function hideDir(command: Command): void {
  for (const option of command.options) if (option.long === '--dir') option.hideHelp();
  for (const sub of command.commands) hideDir(sub);
}

/** Help of commands that are also those of one machine names them as they are called here. */
export function asPlugin(text: string): string {
  return text.replace(/(^|Usage: |`| {2}|\| )sidekey(?= [a-z[])/gm, '$1kubectl sidekey');
}
