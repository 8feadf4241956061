import type { ObjectStatus } from '../../../api/condition.ts';
import { type Access, isReady, labelledPods, sidecarOf, told } from '../../cluster/access.ts';
import { COMPONENTS, componentOf } from '../../cluster/labels.ts';
import { release } from '../../cluster/release.ts';
import { versionOfPart } from '../../cluster/version.ts';
import type { Context } from '../../context.ts';
import { CliError } from '../../errors.ts';
import { EXIT } from '../../exitCodes.ts';
import { table } from '../../render/table.ts';

/** One screen of what there is: the parts, the objects, the agents. @throws CliError NotReady if a part is not */
export async function clusterStatus(context: Context, access: Access): Promise<void> {
  const { client } = access;
  const { namespace, pods } = await release(access);
  const parts = COMPONENTS.map((component) => {
    const own = pods.filter((pod) => componentOf(pod) === component);
    const versions = [...new Set(own.map(versionOfPart))];
    return { component, ready: own.filter(isReady).length, replicas: own.length, versions };
  });
  const objects = await Promise.all(
    ['credentials', 'integrations'].map(async (plural) => {
      const { items } = await told(() =>
        client.list<{ status?: ObjectStatus }>(`/apis/sidekey.dev/v1alpha1/${plural}`),
      );
      return { plural, ready: items.filter(({ status }) => isTrue(status)).length, total: items.length };
    }),
  );
  const agents = await told(() => labelledPods(access));
  const running = agents.filter(({ status }) => status?.phase === 'Running' || status?.phase === 'Pending');
  const agentCounts = {
    running: running.length,
    withSidecar: running.filter((pod) => sidecarOf(pod) !== undefined).length,
    ready: running.filter(isReady).length,
  };
  context.result({ namespace, parts, objects, agents: agentCounts }, () =>
    [
      table(
        ['PART', 'READY', 'VERSION'],
        parts.map(({ component, ready, replicas, versions }) => [
          component,
          context.paint(ready === replicas && replicas > 0 ? 'green' : 'red', `${ready}/${replicas}`),
          versions.join(', ') || '-',
        ]),
      ),
      '',
      ...objects.map(({ plural, ready, total }) => `${plural}: ${ready} of ${total} ready`),
      `agent pods: ${agentCounts.running}, ${agentCounts.withSidecar} with a sidecar, ${agentCounts.ready} ready`,
    ].join('\n'),
  );
  const down = parts.filter(({ ready, replicas }) => ready === 0 || replicas === 0);
  if (down.length > 0)
    throw new CliError('NotReady', `not ready: ${down.map(({ component }) => component).join(', ')}`, {
      exit: EXIT.failed,
      next: 'find out why: kubectl sidekey doctor',
    });
}

function isTrue(status: ObjectStatus | undefined): boolean {
  return status?.conditions?.some((one) => one.type === 'Ready' && one.status === 'True') ?? false;
}
