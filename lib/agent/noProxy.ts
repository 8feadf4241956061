const THIS_MACHINE = ['localhost', '127.0.0.1', '::1'];

/**
 * The agent's NO_PROXY: the user's, without what would lead covered hosts past the sidecar (`dropped`), and what is `own`: this machine itself.
 */
export function noProxy(
  env: Readonly<Record<string, string | undefined>>,
  coveredHosts: readonly string[],
  own: readonly string[] = THIS_MACHINE,
): { value: string; dropped: string[] } {
  const items = (env.no_proxy || env.NO_PROXY || '').split(/[\s,]+/).filter((item) => item !== '');
  const dropped = items.filter((item) => coveredHosts.some((host) => covers(item, host)));
  const kept = items.filter((item) => !dropped.includes(item));
  return { value: [...kept.filter((item) => !own.includes(item)), ...own].join(','), dropped };
}

function covers(item: string, hostPattern: string): boolean {
  if (item === '*') return true;
  const strip = (text: string) =>
    text
      .toLowerCase()
      .replace(/:[0-9]+$/, '')
      .replace(/^\*?\.?/, '');
  const name = strip(item);
  const host = strip(hostPattern);
  return host === name || host.endsWith(`.${name}`) || (hostPattern.startsWith('*.') && name.endsWith(`.${host}`));
}
