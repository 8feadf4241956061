/** Tag or digest of an image: what tells versions apart. */
export function versionOf(image: string | undefined): string {
  const [, digest] = /@(sha256:[0-9a-f]{12})/.exec(image ?? '') ?? [];
  const [, tag] = /:([^:/@]+)(?:@|$)/.exec(image ?? '') ?? [];
  return [tag, digest].filter((part) => part !== undefined).join('@') || 'unknown';
}
