/** What the API server says where that policy refuses. */
export function deniedBy(policy: string, words: string): RegExp {
  const escaped = words.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  return new RegExp(
    `forbidden: ValidatingAdmissionPolicy 'sidekey-${policy}' with binding 'sidekey-${policy}' denied request: .*${escaped}`,
  );
}
