import type { ObjectStatus } from '../../../api/condition.ts';
import type { Check } from '../finding.ts';

interface Raw {
  metadata: { name: string; namespace: string };
  status?: ObjectStatus;
}

/** No Credential waits for a Secret that the operator may not read. */
export const secretsReadable: Check = async ({ access }) => {
  const { items } = await access.client.list<Raw>('/apis/sidekey.dev/v1alpha1/credentials');
  const forbidden = items.flatMap(({ metadata, status }) => {
    const condition = status?.conditions?.find(({ reason }) => reason === ('SecretForbidden' as string));
    return condition === undefined
      ? []
      : [{ key: `${metadata.namespace}/${metadata.name}`, message: condition.message }];
  });
  if (forbidden.length === 0)
    return [{ check: 'Secrets', state: 'ok', message: `those of ${items.length} Credentials can be read` }];
  return [
    {
      check: 'Secrets',
      state: 'failed',
      message: `not allowed to be read for ${forbidden
        .map(({ key }) => key)
        .slice(0, 5)
        .join(', ')}`,
      next: forbidden[0]!.message,
    },
  ];
};
