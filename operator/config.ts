import { z } from 'zod';
import type { OperatorBootstrap as OperatorBootstrapType } from '../api/bootstrap.ts';
import { LabelName, SubdomainName } from '../api/metadata.ts';
import { SIDECAR_PATHS } from '../api/pods.ts';
import { ApiServer, parseConfigFile, StoreUrls } from '../lib/configFile.ts';
import { operatorError } from './errors.ts';

/** What the parent process hands over on file descriptor 3. */
export const OperatorBootstrap = z.strictObject({
  part: z.literal('operator'),
  storeUrl: StoreUrls,
  trustBundlePem: z.string().min(1),
  joinToken: z.string().min(1),
  folder: z.string().min(1),
  statusFile: z.string().min(1),
}) satisfies z.ZodType<OperatorBootstrapType>;
export type OperatorBootstrap = OperatorBootstrapType;

/** What the file says that an operator in a cluster is started with. */
export const OperatorConfig = z.strictObject({
  part: z.literal('operator'),
  storeUrl: StoreUrls,
  metricsHost: z.string().min(1).default('0.0.0.0'),
  metricsPort: z.int().min(0).max(65_535).default(9090),
  /** Of the projected token by which the store is joined; read anew at each join. */
  tokenFile: z.string().min(1).default(SIDECAR_PATHS.tokenFile),
  kubernetes: z.strictObject({
    /** Of the release. */
    namespace: LabelName,
    serviceAccount: SubdomainName.default('sidekey-operator'),
    leaseName: SubdomainName.default('sidekey-operator'),
    trustConfigMap: SubdomainName.default('sidekey-trust'),
    /** The ClusterRole that a namespace's owner binds to let the operator read Secrets. */
    secretReaderRole: SubdomainName.default('sidekey-secret-reader'),
    /** The webhook's certificate, where the operator owns it; cert-manager does without this. */
    webhookTls: z
      .strictObject({
        secret: SubdomainName,
        /** Of the MutatingWebhookConfiguration. */
        configuration: SubdomainName,
        service: LabelName,
      })
      .optional(),
    /** Unlike any other replica's: the host name, which is the pod's, if left out. */
    identity: z.string().min(1).optional(),
    apiServer: ApiServer.optional(),
  }),
});
export type OperatorConfig = z.infer<typeof OperatorConfig>;

/** @throws ConfigInvalid */
export function readConfig(file: string): OperatorConfig {
  return parseConfigFile(file, OperatorConfig, (message) => operatorError('ConfigInvalid', message));
}
