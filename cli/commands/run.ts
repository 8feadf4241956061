import { statSync } from 'node:fs';
import type { Context } from '../context.ts';
import { usageError } from '../errors.ts';
import { signalExitCode } from '../exitCodes.ts';
import { type Folder, findFolder } from '../folder.ts';
import { runAgent } from '../run/agentProcess.ts';
import { AgentSignals } from '../run/agentSignals.ts';
import { type AgentUser, agentUser } from '../run/agentUser.ts';
import { RunDir } from '../run/runDir.ts';
import type { RunOptions } from '../run/runOptions.ts';
import { Sidecar } from '../run/sidecar.ts';
import { withProgress } from '../terminal.ts';

/** Runs a command as an agent behind a sidecar of its own. Resolves with the exit code to end with. */
export async function run(context: Context, command: readonly string[], options: RunOptions): Promise<number> {
  if (command.length === 0)
    throw usageError(
      'there is no command to run',
      'write it after --, as in: sidekey run --tag llm -- python3 agent.py',
    );
  const folder = findFolder(context);
  const user = agentUser(options.user, context.env);
  const signals = new AgentSignals();
  const dir = new RunDir(user !== undefined && user.uid !== 0);
  try {
    const started = await withProgress(context.terminal, 'starting the sidecar', () =>
      signals.orInterrupted(
        Promise.all([
          Sidecar.start({ context, folder, options, dir }),
          // While the sidecar starts: this needs the schemas and the YAML parser, which take as long to load.
          import('../run/agentSetup.ts').then(({ AgentSetup }) => AgentSetup.read(folder, options.subject)),
        ]),
      ),
    );
    if (typeof started === 'string') return signalExitCode(started);
    const [sidecar, setup] = started;
    try {
      dir.finish(new Date());
      setup.announce(context);
      sayUser(context, folder, user);
      const { proxyPort } = sidecar.ready;
      const env = setup.env(context, { proxyPort, keepEnv: options.keepEnv, dir });
      return await runAgent({ command, env: { ...env, ...userEnv(user, dir) }, signals, user });
    } finally {
      await sidecar.stop();
    }
  } finally {
    signals.off();
    dir.remove();
  }
}

/** As root we keep the agent away from everything of ours: says who it is, and where the choice of its user prevents that. */
function sayUser(context: Context, folder: Folder, user: AgentUser | undefined): void {
  if (user === undefined) return; // We are not root: the same user, as the help says.
  if (user.uid === 0) context.warn('the agent runs as root and can read the memory of the sidecar and the store');
  else if (statSync(folder.files.dir).uid === user.uid)
    context.warn(
      `the agent runs as the user that ${folder.files.dir} belongs to, and can read it; choose another one with --user`,
    );
  else if (!context.json) context.note(`the agent runs as ${user.name ?? 'user'} (uid ${user.uid})`);
}

function userEnv(user: AgentUser | undefined, dir: RunDir): Record<string, string> {
  if (user === undefined) return {};
  const name = user.name ?? String(user.uid);
  return { HOME: dir.homeFor(user), USER: name, LOGNAME: name };
}
