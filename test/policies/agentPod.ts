import type { V1Container, V1Pod, V1Volume } from '@kubernetes/client-node';
import {
  INJECT_LABEL,
  REDIRECT_CONTAINER,
  REQUESTED_BY_ANNOTATION,
  ROLE_LABEL,
  SIDECAR_CONTAINER,
  SIDECAR_ENV,
  SIDECAR_PATHS,
  SIDECAR_UID,
  SIDECAR_VOLUMES,
  TAG_LABEL_PREFIX,
  TOKEN_AUDIENCE,
} from '../../api/pods.ts';
import { NODE_ARGS } from '../../lib/nodeArgs.ts';

/** What policies look at in a pod, all of it there, so that a test can change one thing. */
export interface AgentPod extends V1Pod {
  metadata: V1Pod['metadata'] & { name: string; labels: Record<string, string>; annotations: Record<string, string> };
  spec: V1Pod['spec'] & { containers: V1Container[]; initContainers: V1Container[]; volumes: V1Volume[] };
}

/** An agent's pod as the webhook leaves it, in transparent mode, which has the most. */
export function agentPod(name: string, image: string, storeUrl: string): AgentPod {
  const drop = { capabilities: { drop: ['ALL'] }, allowPrivilegeEscalation: false, readOnlyRootFilesystem: true };
  return {
    ...plainPod(name),
    metadata: {
      name,
      labels: { [INJECT_LABEL]: 'true', [ROLE_LABEL]: 'researcher', [`${TAG_LABEL_PREFIX}llm`]: '' },
      annotations: { [REQUESTED_BY_ANNOTATION]: 'alice' },
    },
    spec: {
      serviceAccountName: 'agent',
      initContainers: [
        {
          name: REDIRECT_CONTAINER,
          image,
          command: ['/usr/sbin/nft'],
          args: ['table inet sidekey\n'],
          securityContext: { ...drop, runAsUser: 0, capabilities: { drop: ['ALL'], add: ['NET_ADMIN'] } },
        },
        {
          name: SIDECAR_CONTAINER,
          image,
          restartPolicy: 'Always',
          command: ['/usr/local/bin/node', ...NODE_ARGS.sidecar, '/sidekey/sidecar.mjs'],
          args: ['--in-pod'],
          env: Object.values(SIDECAR_ENV).map((env) => ({
            name: env,
            value: env === SIDECAR_ENV.storeUrl ? storeUrl : 'x',
          })),
          lifecycle: {
            postStart: { exec: { command: ['/usr/local/bin/node', ...NODE_ARGS.listening, '/sidekey/listening.mjs'] } },
          },
          securityContext: { ...drop, runAsUser: SIDECAR_UID, runAsNonRoot: true },
          volumeMounts: [
            { name: SIDECAR_VOLUMES.token, mountPath: SIDECAR_PATHS.tokenDir, readOnly: true },
            { name: SIDECAR_VOLUMES.private, mountPath: SIDECAR_PATHS.privateDir },
            { name: SIDECAR_VOLUMES.public, mountPath: SIDECAR_PATHS.publicDir },
          ],
        },
      ],
      containers: [
        {
          name: 'agent',
          image: 'agent:1',
          volumeMounts: [{ name: SIDECAR_VOLUMES.public, mountPath: SIDECAR_PATHS.publicDir, readOnly: true }],
        },
      ],
      volumes: [
        {
          name: SIDECAR_VOLUMES.token,
          projected: { sources: [{ serviceAccountToken: { audience: TOKEN_AUDIENCE, path: 'token' } }] },
        },
        { name: SIDECAR_VOLUMES.private, emptyDir: { medium: 'Memory' } },
        { name: SIDECAR_VOLUMES.public, emptyDir: { medium: 'Memory' } },
      ],
    },
  };
}

/** A pod that has nothing to do with Sidekey. */
export function plainPod(name: string): AgentPod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, labels: {}, annotations: {} },
    spec: { containers: [{ name: 'agent', image: 'agent:1' }], initContainers: [], volumes: [] },
  };
}

export function sidecarOf(pod: AgentPod): V1Container & { env: NonNullable<V1Container['env']> } {
  return pod.spec.initContainers.find(({ name }) => name === SIDECAR_CONTAINER) as never;
}

export function agentOf(pod: AgentPod): V1Container {
  return pod.spec.containers[0]!;
}
