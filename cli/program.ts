import { Command } from 'commander';
import { VERSION } from '../lib/version.ts';
import { EXIT } from './exitCodes.ts';
import { helpTail } from './help.ts';
import { addAudit } from './tree/audit.ts';
import { addInspection } from './tree/inspection.ts';
import { addKeeping } from './tree/keeping.ts';
import { addKeys } from './tree/keys.ts';
import { addRevocation } from './tree/revocation.ts';
import { addRunning } from './tree/running.ts';
import { addSetup } from './tree/setup.ts';

/**
 * The whole command tree. Each command loads its code when it is called, so that help, completion and `run` start fast.
 *
 * Nothing ends the process: commander's own exits are thrown as CommanderError, and `run` hands its exit code to `onExit`.
 */
export function createProgram(onExit: (code: number) => void): Command {
  const program = new Command('sidekey')
    .description('Software agents use credentials they never hold.')
    .version(VERSION, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'show help')
    .helpCommand('help [command]', 'show help of a command')
    .enablePositionalOptions()
    .showSuggestionAfterError()
    .configureHelp({ sortSubcommands: false, showGlobalOptions: false, helpWidth: 110 })
    .configureOutput({ outputError: () => {} })
    .exitOverride()
    .addHelpText(
      'after',
      helpTail({
        examples: [
          ['sidekey init agents', 'a folder to start from'],
          ['sidekey credential set --dir agents openai-key', 'type the key once'],
          ['sidekey up agents', 'keep the store running'],
          ['sidekey run --dir agents --tag llm -- python3 agent.py', 'an agent that never sees the key'],
        ],
        exits: [EXIT.ok, EXIT.failed, EXIT.usage, EXIT.notRunning, EXIT.refused],
      }),
    );
  addRunning(program, onExit);
  addInspection(program);
  addRevocation(program);
  addAudit(program);
  addKeys(program);
  addSetup(program);
  addKeeping(program);
  return program;
}
