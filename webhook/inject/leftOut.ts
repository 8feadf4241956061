import type { WebhookErrorCode } from '../errors.ts';

/** What says of a pod that it cannot have a sidecar, wherever it comes from (core/v1). */
interface Placed {
  metadata?: { annotations?: Readonly<Record<string, string>> };
  spec?: { os?: { name: string }; nodeSelector?: Readonly<Record<string, string>> };
}

const MIRROR_ANNOTATION = 'kubernetes.io/config.mirror';

/** Why a labelled pod runs without a sidecar by intent, if it does. */
export function leftOut({ metadata, spec }: Placed): Extract<WebhookErrorCode, 'StaticPod' | 'Windows'> | undefined {
  if (metadata?.annotations?.[MIRROR_ANNOTATION] !== undefined) return 'StaticPod';
  const windows =
    spec?.os?.name === 'windows' ||
    spec?.nodeSelector?.['kubernetes.io/os'] === 'windows' ||
    spec?.nodeSelector?.['beta.kubernetes.io/os'] === 'windows';
  return windows ? 'Windows' : undefined;
}
