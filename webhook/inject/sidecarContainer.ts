import type { V1Container } from '@kubernetes/client-node';
import {
  SIDECAR_CONTAINER,
  SIDECAR_ENV,
  SIDECAR_PATHS,
  SIDECAR_PORTS,
  SIDECAR_UID,
  SIDECAR_VOLUMES,
} from '../../api/pods.ts';
import { NODE_ARGS } from '../../lib/nodeArgs.ts';
import type { Capture } from './capture.ts';
import type { InjectSettings } from './settings.ts';

/**
 * The native sidecar (KEP-753), within Pod Security `restricted`; what it says is what the chart's policy `sidecar` wants to see.
 *
 * The agent's containers start once its hook says that it listens, which takes some 100 ms; a startup probe says so a second or two
 * later, because the kubelet has one a second at most (docs/adr/0032-the-agent-waits-by-a-hook.md). Readiness is asked every two
 * seconds: it says that the store was joined, which nobody waits for but Services of the pod.
 * There is no liveness probe: a restart would cut the agent's connections, and a sidecar that has a fault ends by itself.
 */
export function sidecarContainer(settings: InjectSettings, { egress, ports }: Capture): V1Container {
  const { extraCaPem, image, imagePullPolicy, resources, storeUrl, trustBundlePem } = settings;
  const probe = (path: string) => ({ httpGet: { path, port: SIDECAR_PORTS.health }, timeoutSeconds: 2 });
  return {
    name: SIDECAR_CONTAINER,
    image,
    ...(imagePullPolicy && { imagePullPolicy }),
    restartPolicy: 'Always',
    command: ['/usr/local/bin/node', ...NODE_ARGS.sidecar, '/sidekey/sidecar.mjs'],
    args: ['--in-pod'],
    env: [
      { name: SIDECAR_ENV.storeUrl, value: storeUrl },
      { name: SIDECAR_ENV.trustBundle, value: trustBundlePem },
      { name: SIDECAR_ENV.egress, value: egress },
      ...(ports.length > 0 ? [{ name: SIDECAR_ENV.capturePorts, value: ports.join(',') }] : []),
      ...(extraCaPem ? [{ name: SIDECAR_ENV.extraCa, value: extraCaPem }] : []),
    ],
    securityContext: {
      runAsNonRoot: true,
      runAsUser: SIDECAR_UID,
      runAsGroup: SIDECAR_UID,
      readOnlyRootFilesystem: true,
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'] },
      seccompProfile: { type: 'RuntimeDefault' },
    },
    lifecycle: {
      postStart: { exec: { command: ['/usr/local/bin/node', ...NODE_ARGS.listening, '/sidekey/listening.mjs'] } },
    },
    readinessProbe: { ...probe('/readyz'), periodSeconds: 2, failureThreshold: 3 },
    resources: {
      ...(resources.requests && { requests: { ...resources.requests } }),
      ...(resources.limits && { limits: { ...resources.limits } }),
    },
    volumeMounts: [
      { name: SIDECAR_VOLUMES.token, mountPath: SIDECAR_PATHS.tokenDir, readOnly: true },
      { name: SIDECAR_VOLUMES.private, mountPath: SIDECAR_PATHS.privateDir },
      { name: SIDECAR_VOLUMES.public, mountPath: SIDECAR_PATHS.publicDir },
    ],
  };
}
