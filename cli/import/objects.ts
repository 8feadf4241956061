import { stringify } from 'yaml';
import type { Placement } from '../../api/integration.ts';
import { API_VERSION, DEFAULT_NAMESPACE } from '../../api/metadata.ts';
import type { PlannedCredential } from './plan.ts';

/** The YAML of a planned credential and its integrations: one file, with a word on what each part is for. */
export function objectsYaml(credential: PlannedCredential): string {
  const { provider, namespace, name, hosts } = credential;
  const metadata = (objectName: string) => ({
    name: objectName,
    ...(namespace !== DEFAULT_NAMESPACE && { namespace }),
  });
  const objects = [
    {
      comment: `How the ${provider.name} key is obtained (the store holds it: sidekey credential set ${name}), and where it may go at most.`,
      object: {
        apiVersion: API_VERSION,
        kind: 'Credential',
        metadata: metadata(name),
        spec: { source: { store: {} }, hosts },
      },
    },
    ...integrationsOf(credential).map(({ suffix, ...spec }) => ({
      comment: `Agents with the tag ${provider.tag} (sidekey run --tag ${provider.tag} -- CMD) use it on these hosts.`,
      object: {
        apiVersion: API_VERSION,
        kind: 'Integration',
        metadata: metadata(suffix === undefined ? provider.name : `${provider.name}-${suffix}`),
        spec: {
          credentialRef: { name },
          hosts: spec.hosts,
          alias: suffix === undefined ? provider.name : `${provider.name}-${suffix}`,
          inject: spec.inject,
          subjects: { tags: [provider.tag] },
        },
      },
    })),
  ];
  return objects.map(({ comment, object }) => `# ${comment}\n${stringify(object)}`).join('---\n');
}

function integrationsOf(credential: PlannedCredential): { suffix?: string; hosts: string[]; inject: Placement[] }[] {
  const { provider, hosts } = credential;
  const all = [{ hosts: provider.hosts, inject: provider.inject }, ...(provider.more ?? [])];
  const own = all.map((one) => ({ ...one, hosts: one.hosts.filter((host) => hosts.includes(host)) }));
  const kept = own.filter((one) => one.hosts.length > 0);
  // The SDK was pointed at a host of the user's: that one, with the provider's own placement.
  const used = kept.length > 0 ? kept : [{ hosts, inject: provider.inject }];
  return used.map((one) => ({ ...one, hosts: [...one.hosts], inject: placements(one.inject, credential) }));
}

/** Placements whose field is there, with the user name filled in. */
function placements(inject: readonly Placement[], { fields, username }: PlannedCredential): Placement[] {
  const present = new Set(fields.map(({ field }) => field));
  return inject
    .filter((placement) => placement.header?.field === undefined || present.has(placement.header.field))
    .map((placement) =>
      placement.basic !== undefined && username !== undefined ? { basic: { ...placement.basic, username } } : placement,
    );
}
