import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { LabelName, SubdomainName } from '../api/metadata.ts';
import { errorText } from '../lib/errors.ts';
import { webhookError } from './errors.ts';

const isHttpsUrl = (url: string) => z.url({ protocol: /^https$/ }).safeParse(url).success;
const Port = z.int().min(0).max(65_535);
const Quantities = z.record(z.string(), z.string());

/** What every pod pays for a sidecar (docs/benchmarks.md): half of the limit is its usual size. */
const RESOURCES = { requests: { cpu: '20m', memory: '64Mi' }, limits: { memory: '128Mi' } };

/** What the file says that the webhook is started with. */
export const WebhookConfig = z.strictObject({
  part: z.literal('webhook'),
  storeUrl: z.string().refine((urls) => urls.split(',').every(isHttpsUrl), 'https:// URLs with commas between'),
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
    apiServer: z
      .strictObject({
        url: z.string().optional(),
        caFile: z.string().optional(),
        tokenFile: z.string().optional(),
      })
      .optional(),
  }),
});
export type WebhookConfig = z.infer<typeof WebhookConfig>;

/** @throws ConfigInvalid */
export function readConfig(file: string): WebhookConfig {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw webhookError('ConfigInvalid', `The file ${file} cannot be read: ${errorText(error)}.`);
  }
  const parsed = WebhookConfig.safeParse(value);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('; ');
  throw webhookError('ConfigInvalid', `The file ${file} is not valid: ${problems}.`);
}
