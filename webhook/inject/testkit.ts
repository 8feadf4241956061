import { placeholderOf } from '../../api/placeholder.ts';
import type { InjectSettings, NamespaceObjects } from './settings.ts';

const OBJECTS: NamespaceObjects = {
  credentials: new Map([
    ['openai-key', { placeholder: placeholderOf({ key: 'team-a/openai-key', hosts: ['api.openai.com'] }) }],
  ]),
  integrations: new Map([
    ['openai', { alias: 'openai', hosts: ['api.openai.com'], subjects: { tags: ['llm'] } }],
    ['no-alias', { hosts: ['api.example.com'], subjects: { serviceAccounts: ['reporter'] } }],
    ['echo', { alias: 'echo', hosts: ['echo.team-a.svc'], subjects: { tags: ['cluster'] } }],
  ]),
};

export function testSettings(changes: Partial<InjectSettings> = {}): InjectSettings {
  return {
    image: `sidekey.test/sidekey@sha256:${'0'.repeat(64)}`,
    resources: { requests: { cpu: '20m', memory: '64Mi' }, limits: { memory: '128Mi' } },
    storeUrl: 'https://sidekey-store.sidekey-system.svc:8443',
    trustBundlePem: '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n',
    egress: 'Open',
    clusterDomain: 'cluster.local',
    apiServerAddress: '10.96.0.1',
    namespace: 'team-a',
    objects: OBJECTS,
    ...changes,
  };
}
