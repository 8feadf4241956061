import type { Grant } from '../../api/grant.ts';
import type { Context } from '../context.ts';
import type { Folder } from '../folder.ts';
import { type FolderObjects, folderObjects, grantsOf } from '../folderGrants.ts';
import { count } from '../render/table.ts';
import { checkSubject, type Subject, subjectHints, subjectText } from '../subject.ts';
import { agentEnv } from './agentEnv.ts';
import { nameOf } from './knownVariables.ts';
import type { RunDir } from './runDir.ts';

/** What an agent of this kind is granted, as its environment and the line about it need to know. */
export class AgentSetup {
  readonly #objects: FolderObjects;
  readonly #subject: Subject;
  readonly #grants: readonly Grant[];

  private constructor(objects: FolderObjects, subject: Subject) {
    this.#objects = objects;
    this.#subject = subject;
    this.#grants = grantsOf(objects, subject);
  }

  /** @throws Usage if the subject is none */
  static async read(folder: Folder, subject: Subject): Promise<AgentSetup> {
    return new AgentSetup(await folderObjects(folder.path), checkSubject(subject));
  }

  /** `3 integrations (openai, stripe, git) for role researcher, tags llm` */
  announce(context: Context): void {
    const names = this.#grants.map((grant) => nameOf(grant.integration));
    if (context.json) {
      const event = { event: 'run', integrations: this.#grants.map((grant) => grant.integration), ...this.#subject };
      context.terminal.err.write(`${JSON.stringify(event)}\n`);
      return;
    }
    const subject = subjectText(this.#subject);
    const problems = this.#objects.problems.length;
    if (problems > 0)
      context.warn(`${count(problems, 'problem')} in the files of the folder; sidekey get shows what and where`);
    if (this.#grants.length > 0) {
      context.note(`${count(this.#grants.length, 'integration')} (${names.join(', ')}) for ${subject}`);
      return;
    }
    context.warn(`no integration is for ${subject}, so no request gets a credential`);
    for (const hint of subjectHints(this.#objects, this.#subject)) context.note(hint);
  }

  /** The agent's environment; what of the user's had to be changed in it is warned about. */
  env(context: Context, options: { proxyPort: number; keepEnv: boolean; dir: RunDir }): Record<string, string> {
    const { bundleFile, trustStoreFile } = options.dir;
    const { env, warnings } = agentEnv({
      env: context.env,
      grants: this.#grants,
      proxyPort: options.proxyPort,
      bundleFile,
      trustStoreFile,
      keepEnv: options.keepEnv,
    });
    for (const warning of warnings) context.warn(warning);
    return env;
  }
}
