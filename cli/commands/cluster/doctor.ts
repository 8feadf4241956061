import { errorText } from '../../../lib/errors.ts';
import { type Access, isLiving } from '../../cluster/access.ts';
import { policiesBound, webhookCa, webhookInjects } from '../../cluster/checks/admission.ts';
import { labelledPodsHaveSidecars } from '../../cluster/checks/agentPods.ts';
import { apiServerVersion, kindsInstalled } from '../../cluster/checks/apiServer.ts';
import { secretsReadable } from '../../cluster/checks/credentials.ts';
import { partsReady } from '../../cluster/checks/parts.ts';
import { sidecarsCurrent, versionsAlike } from '../../cluster/checks/versions.ts';
import type { Check, Finding } from '../../cluster/finding.ts';
import { release } from '../../cluster/release.ts';
import type { Context } from '../../context.ts';
import { CliError } from '../../errors.ts';
import { EXIT } from '../../exitCodes.ts';
import { printable, withProgress } from '../../terminal.ts';

/** In the order in which one failure explains the next. */
const CHECKS: readonly Check[] = [
  apiServerVersion,
  kindsInstalled,
  partsReady,
  versionsAlike,
  webhookCa,
  webhookInjects,
  policiesBound,
  secretsReadable,
  labelledPodsHaveSidecars,
  sidecarsCurrent,
];

const SIGNS = { ok: ['green', '✓'], warning: ['yellow', '!'], failed: ['red', '✗'], unknown: ['yellow', '?'] } as const;

/** Looks for everything that is known to go wrong, and says what to do. Changes nothing. @throws CliError CheckFailed */
export async function clusterDoctor(context: Context, access: Access, agents = access.namespace): Promise<void> {
  const found = await release(access);
  const { namespace } = found;
  const pods = found.pods.filter(isLiving);
  const findings: Finding[] = [];
  await withProgress(context.terminal, 'looking at the cluster', async () => {
    for (const check of CHECKS)
      findings.push(...(await look(check, { access, namespace, agents, pods, nowMs: Date.now() })));
  });
  context.result(findings, () => {
    const width = Math.max(...findings.map(({ check }) => check.length));
    return findings
      .flatMap(({ check, message, next, state }) => {
        const [style, sign] = SIGNS[state];
        const line = `${context.paint(style, sign)} ${check.padEnd(width)}  ${printable(message)}`;
        return next === undefined || state === 'ok' ? [line] : [line, `  ${' '.repeat(width)}  → ${printable(next)}`];
      })
      .join('\n');
  });
  const failed = findings.filter(({ state }) => state === 'failed');
  if (failed.length > 0)
    throw new CliError('CheckFailed', `${failed.length} of ${findings.length} checks failed`, { exit: EXIT.refused });
}

async function look(check: Check, input: Parameters<Check>[0]): Promise<Finding[]> {
  try {
    return await check(input);
  } catch (error) {
    return [{ check: check.name, state: 'unknown', message: errorText(error), next: 'it could not be looked at' }];
  }
}
