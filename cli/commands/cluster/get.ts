import type { ObjectStatus } from '../../../api/condition.ts';
import type { StatusFile } from '../../../api/statusFile.ts';
import { type Access, told } from '../../cluster/access.ts';
import type { Context } from '../../context.ts';
import { statusText } from '../../render/status.ts';
import { select } from '../get.ts';

interface Raw {
  metadata: { name: string; namespace: string };
  spec: { hosts?: string[]; credentialRef?: { name: string; namespace?: string } };
  status?: Partial<ObjectStatus>;
}

export interface GetFlags {
  namespace?: string | undefined;
  allNamespaces?: boolean | undefined;
}

/** Shows Credentials and Integrations of a cluster with their conditions, and what is wrong. */
export async function clusterGet(
  context: Context,
  access: Access,
  kind: string | undefined,
  name: string | undefined,
  flags: GetFlags,
): Promise<void> {
  const namespace = flags.allNamespaces ? undefined : (flags.namespace ?? access.namespace);
  const all: StatusFile = {
    reconciledAt: new Date().toISOString(),
    objects: [
      ...(await objectsOf(access, 'Credential', namespace)),
      ...(await objectsOf(access, 'Integration', namespace)),
    ],
    problems: [],
  };
  const selected = select(all, kind, name, namespace);
  context.result(selected.objects, () => {
    const text = statusText(selected, {
      paint: (style, cell) => context.paint(style, cell),
      wide: context.output === 'wide',
      nowMs: Date.now(),
    });
    return text === ''
      ? `nothing yet in ${namespace === undefined ? 'any namespace' : `namespace ${namespace}`}`
      : text;
  });
}

/** As the operator's file on one machine has them, so that both are shown alike. */
async function objectsOf(
  { client }: Access,
  kind: 'Credential' | 'Integration',
  namespace: string | undefined,
): Promise<StatusFile['objects']> {
  const plural = `${kind.toLowerCase()}s`;
  const within = namespace === undefined ? '' : `/namespaces/${namespace}`;
  const { items } = await told(() => client.list<Raw>(`/apis/sidekey.dev/v1alpha1${within}/${plural}`));
  return items.map(({ metadata, spec, status }) => ({
    kind,
    key: `${metadata.namespace}/${metadata.name}`,
    file: `kubectl -n ${metadata.namespace} get ${plural} ${metadata.name}`,
    status: { conditions: [], ...status },
    ...(kind === 'Integration' && {
      hosts: spec.hosts ?? [],
      credential: `${spec.credentialRef?.namespace ?? metadata.namespace}/${spec.credentialRef?.name ?? ''}`,
    }),
  }));
}
