import { z } from 'zod';
import { LabelName, SubdomainName } from '../api/metadata.ts';
import { ApiServer, parseConfigFile, StoreUrls } from '../lib/configFile.ts';
import { webhookError } from './errors.ts';

const Port = z.int().min(0).max(65_535);
const Quantities = z.record(z.string(), z.string());

/** What every pod pays for a sidecar (docs/benchmarks.md): half of the limit is its usual size. */
const RESOURCES = { requests: { cpu: '20m', memory: '64Mi' }, limits: { memory: '128Mi' } };

/** What the file says that the webhook is started with. */
export const WebhookConfig = z.strictObject({
  part: z.literal('webhook'),
  storeUrl: StoreUrls,
  listenHost: z.string().min(1).default('0.0.0.0'),
  listenPort: Port.default(8443),
  metricsHost: z.string().min(1).default('0.0.0.0'),
  metricsPort: Port.default(9090),
  /** What is put into pods. */
  sidecar: z.strictObject({
    /** `repository@sha256:…` or `repository:tag`. */
    image: z.string().min(1),
    imagePullPolicy: z.enum(['Always', 'IfNotPresent', 'Never']).optional(),
    egress: z.enum(['Open', 'Closed']).default('Open'),
    extraCaPem: z.string().optional(),
    resources: z.strictObject({ requests: Quantities.optional(), limits: Quantities.optional() }).default(RESOURCES),
  }),
  /** Users besides the controllers of Kubernetes whose word is taken for who requested what they create. */
  trustedControllers: z.array(z.string().min(1)).default([]),
  clusterDomain: z.string().min(1).default('cluster.local'),
  kubernetes: z.strictObject({
    /** Of the release. */
    namespace: LabelName,
    tlsSecret: SubdomainName.default('sidekey-webhook-tls'),
    trustConfigMap: SubdomainName.default('sidekey-trust'),
    apiServer: ApiServer.optional(),
  }),
});
export type WebhookConfig = z.infer<typeof WebhookConfig>;

/** @throws ConfigInvalid */
export function readConfig(file: string): WebhookConfig {
  return parseConfigFile(file, WebhookConfig, (message) => webhookError('ConfigInvalid', message));
}
