import { explain as explainRequest } from '../../sidecar/decide/explain.ts';
import { REFUSALS } from '../../sidecar/errors.ts';
import type { Context } from '../context.ts';
import { CliError, usageError } from '../errors.ts';
import { EXIT } from '../exitCodes.ts';
import { objectsFolder } from '../folder.ts';
import { type FolderObjects, folderObjects, grantsOf } from '../folderGrants.ts';
import { problemText } from '../render/status.ts';
import { checkSubject, type Subject, subjectHints, subjectText } from '../subject.ts';
import { printable } from '../terminal.ts';

export interface ExplainOptions {
  subject: Subject;
  egress: 'Open' | 'Closed';
}

/** Says what would become of a request and why, by the sidecar's own decision; nothing needs to run. */
export async function explain(context: Context, method: string, url: string, options: ExplainOptions): Promise<void> {
  checkRequest(method, url);
  explainFor(context, await folderObjects(objectsFolder(context).path), { method, url, ...options });
}

/** @throws Usage */
export function checkRequest(method: string, url: string): void {
  if (!/^[A-Za-z]{1,32}$/.test(method))
    throw usageError(`${method} is no HTTP method`, 'such as: sidekey explain GET https://api.openai.com/v1/models');
  if (!/^https?:\/\//i.test(url) || !URL.canParse(url))
    throw usageError(
      `${url} is no http:// or https:// URL`,
      'write it in full, such as https://api.openai.com/v1/models',
    );
}

/** The same for objects that were read already. @throws the refusal, after it was explained */
export function explainFor(
  context: Context,
  objects: FolderObjects,
  { method, url, ...options }: ExplainOptions & { method: string; url: string },
): void {
  const grants = grantsOf(objects, checkSubject(options.subject));
  const { steps, decision } = explainRequest(grants, options.egress, method.toUpperCase(), url);
  const outcome = outcomeOf(decision);
  const hints = decision.kind === 'credential' ? [] : subjectHints(objects, options.subject);
  context.result(
    {
      request: { method: method.toUpperCase(), url },
      subject: options.subject,
      grants: grants.map((grant) => grant.integration),
      steps,
      ...outcome.json,
      problems: objects.problems,
    },
    () => {
      const lines = [
        `${method.toUpperCase()} ${printable(url)} for ${subjectText(options.subject)}`,
        ...steps.map(({ ok, check, detail }) => `  ${mark(context, ok)} ${check.padEnd(11)} ${printable(detail)}`),
        `${context.paint('bold', '→')} ${outcome.text}`,
        ...hints.map((hint) => `  ${hint}`),
      ];
      return lines.join('\n');
    },
  );
  for (const problem of objects.problems) context.warn(problemText(problem));
  if (decision.kind === 'refuse')
    throw new CliError(decision.code, `the request would be refused: ${decision.code}`, {
      exit: EXIT.refused,
      next: REFUSALS[decision.code].help,
    });
}

function mark(context: Context, ok: boolean): string {
  return ok ? context.paint('green', '✓') : context.paint('red', '✗');
}

type Decision = ReturnType<typeof explainRequest>['decision'];

function outcomeOf(decision: Decision): { json: object; text: string } {
  switch (decision.kind) {
    case 'credential': {
      const { integration, credential } = decision.entry;
      return {
        json: { decision: 'credential', integration, credential },
        text: `credential ${credential} is placed by Integration ${integration}`,
      };
    }
    case 'pass':
      return { json: { decision: 'pass' }, text: 'passed through untouched, without a credential' };
    case 'refuse': {
      const { status } = REFUSALS[decision.code];
      return {
        json: { decision: 'refuse', code: decision.code, status, detail: decision.detail },
        text: `refused with ${status} ${decision.code}`,
      };
    }
  }
}
