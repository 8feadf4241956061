import { closeSync } from 'node:fs';
import { userInfo } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import type { JoinTokenRequest } from '../../api/admin.ts';
import type { PartMessage, SidecarBootstrap } from '../../api/bootstrap.ts';
import type { Grant } from '../../api/grant.ts';
import { AdminClient } from '../adminClient.ts';
import type { Context } from '../context.ts';
import { usageError } from '../errors.ts';
import { signalExitCode } from '../exitCodes.ts';
import { type Folder, findFolder, notRunning, readRunFile } from '../folder.ts';
import { type FolderObjects, folderObjects, grantsOf } from '../folderGrants.ts';
import { logFile, openLog } from '../logs.ts';
import { endText, Part } from '../part.ts';
import { count } from '../render/table.ts';
import { agentEnv } from '../run/agentEnv.ts';
import { runAgent } from '../run/agentProcess.ts';
import { AgentSignals } from '../run/agentSignals.ts';
import { type AgentUser, agentUser } from '../run/agentUser.ts';
import { nameOf } from '../run/knownVariables.ts';
import { RunDir } from '../run/runDir.ts';
import { userProxy } from '../run/userProxy.ts';
import { type Subject, subjectHints, subjectText } from '../subject.ts';
import { withProgress } from '../terminal.ts';

export interface RunOptions {
  subject: Subject;
  egress: SidecarBootstrap['egress'];
  keepEnv: boolean;
  extraCa: string | undefined;
  user: string | undefined;
}

type SidecarReady = Extract<PartMessage, { proxyPort: number }>;

/** The session's end is told to the store while the sidecar stops; the shell must not wait for it. */
const FAREWELL_MS = 1_500;

/** Runs a command as an agent behind a sidecar of its own. Resolves with the exit code to end with. */
export async function run(context: Context, command: readonly string[], options: RunOptions): Promise<number> {
  if (command.length === 0)
    throw usageError(
      'there is no command to run',
      'write it after --, as in: sidekey run --tag llm -- python3 agent.py',
    );
  const folder = findFolder(context);
  const user = agentUser(options.user, context.env);
  if (user?.uid === 0) context.warn('the agent runs as root and can read the memory of the sidecar and the store');
  const signals = new AgentSignals();
  const dir = new RunDir();
  try {
    const started = await withProgress(context.terminal, 'starting the sidecar', () =>
      // The one talks to the store while the other reads files.
      signals.orInterrupted(
        Promise.all([Sidecar.start({ context, folder, options, dir }), folderObjects(folder.path)]),
      ),
    );
    if (typeof started === 'string') return signalExitCode(started);
    const [sidecar, objects] = started;
    try {
      dir.finish(new Date());
      const grants = grantsOf(objects, options.subject);
      announce(context, grants, options.subject, objects);
      const { env, warnings } = agentEnv({
        env: context.env,
        grants,
        proxyPort: sidecar.ready.proxyPort,
        bundleFile: dir.bundleFile,
        trustStoreFile: dir.trustStoreFile,
        keepEnv: options.keepEnv,
      });
      for (const warning of warnings) context.warn(warning);
      return await runAgent({ command, env: { ...env, ...userEnv(user, dir) }, signals, user });
    } finally {
      await sidecar.stop();
    }
  } finally {
    signals.off();
    dir.remove();
  }
}

/** The sidecar of this run: nobody else's, and gone with us. */
class Sidecar {
  readonly ready: SidecarReady;
  readonly #part: Part;
  #stopping = false;

  private constructor(part: Part, ready: SidecarReady) {
    this.#part = part;
    this.ready = ready;
  }

  static async start(start: { context: Context; folder: Folder; options: RunOptions; dir: RunDir }): Promise<Sidecar> {
    const { context, folder, options, dir } = start;
    const store = readRunFile(folder.files);
    if (store === undefined) throw notRunning(folder);
    const proxy = userProxy(context.env);
    if (proxy.problem !== undefined) context.warn(proxy.problem);
    const extraCaFile = dir.extraCaFile(options.extraCa, context.env);
    const { joinToken } = await new AdminClient(folder).joinToken(joinRequest(options.subject, context.env));
    const log = openLog(folder.files, 'sidecar');
    try {
      const { part, ready } = await Part.start<SidecarReady>(
        {
          part: 'sidecar',
          storeUrl: store.storeUrl,
          trustBundlePem: store.trustBundlePem,
          joinToken,
          proxyPort: 0,
          healthPort: 0,
          egress: options.egress,
          bundleFile: dir.bundleFile,
          ...(extraCaFile !== undefined && { extraCaFile }),
        },
        { log, env: withoutSecrets(proxy.env) },
      );
      const sidecar = new Sidecar(part, ready);
      sidecar.#watch(context, folder);
      return sidecar;
    } finally {
      closeSync(log);
    }
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.race([this.#part.stop(), sleep(FAREWELL_MS, undefined, { ref: false })]);
  }

  /** Its death is said, and that is all: the agent's requests then fail, and none goes out bare. */
  #watch(context: Context, folder: Folder): void {
    this.#part.ended.then((end) => {
      if (this.#stopping) return;
      context.warn(
        `the sidecar ended (${endText(end)}): the agent's requests fail from now on and none leaves without it; start the agent anew. Log: ${logFile(folder.files, 'sidecar')}`,
      );
    });
  }
}

function joinRequest(subject: Subject, env: NodeJS.ProcessEnv): JoinTokenRequest {
  const { namespace, serviceAccount, role, tags } = subject;
  return {
    kind: 'session',
    session: {
      namespace,
      serviceAccount,
      tags: [...tags],
      requester: requester(env),
      ...(role !== undefined && { role }),
    },
  };
}

/** Who asked for it, for the audit: behind sudo, the person. */
function requester(env: NodeJS.ProcessEnv): string {
  if (process.getuid?.() === 0 && env.SUDO_USER) return env.SUDO_USER;
  try {
    return userInfo().username;
  } catch {
    return `uid ${process.getuid?.() ?? 'unknown'}`; // No entry in passwd.
  }
}

/** The sidecar's environment: nothing of the user's that looks like a key, where it could be read from. */
function withoutSecrets(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => SIDECAR_VARIABLES.test(name)));
}

const SIDECAR_VARIABLES = /^(PATH|HOME|TMPDIR|TZ|LANG|LC_.*|SIDEKEY_DEBUG|(HTTPS?|NO)_PROXY|SSL_CERT_(FILE|DIR))$/i;

function userEnv(user: AgentUser | undefined, dir: RunDir): Record<string, string> {
  if (user === undefined) return {};
  const name = user.name ?? String(user.uid);
  return { HOME: dir.homeFor(user), USER: name, LOGNAME: name };
}

/** `3 integrations (openai, stripe, git) for role researcher, tags llm` */
function announce(context: Context, grants: readonly Grant[], subject: Subject, objects: FolderObjects): void {
  const names = grants.map((grant) => nameOf(grant.integration));
  if (context.json) {
    const { role, tags, namespace, serviceAccount } = subject;
    const event = {
      event: 'run',
      integrations: grants.map((grant) => grant.integration),
      role,
      tags,
      namespace,
      serviceAccount,
    };
    context.terminal.err.write(`${JSON.stringify(event)}\n`);
    return;
  }
  if (grants.length > 0) {
    context.note(`${count(grants.length, 'integration')} (${names.join(', ')}) for ${subjectText(subject)}`);
    return;
  }
  context.warn(`no integration is for ${subjectText(subject)}, so no request gets a credential`);
  for (const hint of subjectHints(objects, subject)) context.note(hint);
}
