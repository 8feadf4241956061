import type { Pod } from './access.ts';
import { componentOf } from './labels.ts';

/** Tag or digest of an image: what tells versions apart. */
export function versionOf(image: string | undefined): string {
  const [, digest] = /@(sha256:[0-9a-f]{12})/.exec(image ?? '') ?? [];
  const [, tag] = /:([^:/@]+)(?:@|$)/.exec(image ?? '') ?? [];
  return [tag, digest].filter((part) => part !== undefined).join('@') || 'unknown';
}

/** Of a part's pod, to which others may have added containers. */
export function versionOfPart(pod: Pod): string {
  const { containers } = pod.spec;
  return versionOf((containers.find(({ name }) => name === componentOf(pod)) ?? containers[0])?.image);
}
