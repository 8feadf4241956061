import { closeSync } from 'node:fs';
import { userInfo } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import type { JoinTokenRequest } from '../../api/admin.ts';
import type { PartMessage } from '../../api/bootstrap.ts';
import type { RunFile } from '../../lib/stateDir.ts';
import type { Subject } from '../../store/grants.ts';
import { AdminClient } from '../adminClient.ts';
import type { Context } from '../context.ts';
import { type Folder, notRunning, readRunFile } from '../folder.ts';
import { logFile, openLog } from '../logs.ts';
import { endText, Part } from '../part.ts';
import { answers } from '../store.ts';
import type { RunDir } from './runDir.ts';
import type { RunOptions } from './runOptions.ts';
import { userProxy } from './userProxy.ts';

type SidecarReady = Extract<PartMessage, { proxyPort: number }>;

/** The session's end is told to the store while the sidecar stops; the shell must not wait for it. */
const FAREWELL_MS = 1_500;

/** Between the store's first answer and the operator's. */
const START_LIMIT_MS = 5_000;
const RETRY_MS = 50;

/** The sidecar of this run: nobody else's, and gone with us. */
export class Sidecar {
  readonly ready: SidecarReady;
  readonly #part: Part;
  #stopping = false;

  private constructor(part: Part, ready: SidecarReady) {
    this.#part = part;
    this.ready = ready;
  }

  static async start(start: { context: Context; folder: Folder; options: RunOptions; dir: RunDir }): Promise<Sidecar> {
    const { context, folder, options, dir } = start;
    const store = await runningStore(folder);
    const proxy = userProxy(context.env);
    if (proxy.problem !== undefined) context.warn(proxy.problem);
    const extraCaFile = dir.extraCaFile(options.extraCa, context.env);
    const { joinToken, trustBundlePem = store.trustBundlePem } = await new AdminClient(folder).joinToken(
      joinRequest(options.subject, context.env),
    );
    const log = openLog(folder.files, 'sidecar');
    try {
      const { part, ready } = await Part.start<SidecarReady>(
        {
          part: 'sidecar',
          storeUrl: [...new Set([store.storeUrl, ...options.stores])].join(','),
          trustBundlePem,
          joinToken,
          proxyPort: 0,
          healthPort: 0,
          egress: options.egress,
          bundleFile: dir.bundleFile,
          ...(extraCaFile !== undefined && { extraCaFile }),
        },
        { log, logPath: logFile(folder.files, 'sidecar'), env: withoutSecrets(proxy.env) },
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

/** What `sidekey up` says of its store. One that is just starting is waited for. @throws NotRunning, NotOwner */
async function runningStore(folder: Folder): Promise<RunFile> {
  const admin = new AdminClient(folder);
  for (let waitedMs = 0; ; waitedMs += RETRY_MS) {
    const run = readRunFile(folder.files);
    if (run !== undefined) return run;
    if (waitedMs >= START_LIMIT_MS || !(await answers(admin))) throw notRunning(folder);
    await sleep(RETRY_MS);
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
