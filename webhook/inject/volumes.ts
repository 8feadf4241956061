import type { V1Container, V1Volume } from '@kubernetes/client-node';
import { SIDECAR_PATHS, SIDECAR_VOLUMES, TOKEN_AUDIENCE } from '../../api/pods.ts';

/** Kubelets replace a token when four fifths of its life are over; the sidecar needs it to join, and to join again after a restart. */
const TOKEN_SECONDS = 3_600;
const OWN_NAMES: readonly string[] = Object.values(SIDECAR_VOLUMES);
const OWN_PATHS: readonly string[] = [SIDECAR_PATHS.tokenDir, SIDECAR_PATHS.privateDir, SIDECAR_PATHS.publicDir];

/** The pod's volumes with ours at the end; what has the names of ours is not trusted to be it. */
export function withOurVolumes(volumes: readonly V1Volume[] = []): V1Volume[] {
  return [
    ...volumes.filter(({ name }) => !OWN_NAMES.includes(name)),
    {
      name: SIDECAR_VOLUMES.token,
      projected: {
        sources: [
          { serviceAccountToken: { audience: TOKEN_AUDIENCE, expirationSeconds: TOKEN_SECONDS, path: 'token' } },
        ],
      },
    },
    // A CA with its key, and a trust bundle.
    { name: SIDECAR_VOLUMES.private, emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } },
    // The system's roots as PEM and as a Java trust store, each of some 250 KB, and written anew beside the old.
    { name: SIDECAR_VOLUMES.public, emptyDir: { medium: 'Memory', sizeLimit: '4Mi' } },
  ];
}

/** A container of the user's with the public certificates, and with nothing else of ours. */
export function withPublicMount(container: V1Container): V1Container {
  const { volumeMounts = [] } = container;
  const own = { name: SIDECAR_VOLUMES.public, mountPath: SIDECAR_PATHS.publicDir, readOnly: true };
  return { ...container, volumeMounts: [...volumeMounts.filter((mount) => !isOurs(mount)), own] };
}

function isOurs({ mountPath, name }: { mountPath: string; name: string }): boolean {
  return OWN_NAMES.includes(name) || OWN_PATHS.includes(mountPath.replace(/\/+$/, ''));
}
