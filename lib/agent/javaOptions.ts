import { TRUST_STORE_PASSWORD } from './javaTrustStore.ts';

export interface JavaOptionsInput {
  /** What JAVA_TOOL_OPTIONS says already. */
  own?: string | undefined;
  trustStoreFile: string;
  /** On this machine; connections are captured some other way without it. */
  proxyPort?: number;
  /** Besides this machine, as NO_PROXY has them: `.svc` is all that ends so. */
  bypass?: readonly string[];
}

/** JAVA_TOOL_OPTIONS: Java reads neither proxy nor CA variables. The last one wins, so that the user's other options stay in force and ours are too. */
export function javaOptions({ bypass = [], own, proxyPort, trustStoreFile }: JavaOptionsInput): string {
  const ours = [
    `-Djavax.net.ssl.trustStore=${trustStoreFile}`,
    '-Djavax.net.ssl.trustStoreType=JKS',
    `-Djavax.net.ssl.trustStorePassword=${TRUST_STORE_PASSWORD}`,
    ...(proxyPort === undefined ? [] : proxyOptions(proxyPort, bypass)),
  ].map((option) => (/\s/.test(option) ? `"${option}"` : option));
  return [own, ...ours].filter((option) => option).join(' ');
}

function proxyOptions(port: number, bypass: readonly string[]): string[] {
  return [
    '-Dhttps.proxyHost=127.0.0.1',
    `-Dhttps.proxyPort=${port}`,
    '-Dhttp.proxyHost=127.0.0.1',
    `-Dhttp.proxyPort=${port}`,
    // Of https too.
    `-Dhttp.nonProxyHosts=${['localhost', '127.*', '[::1]', ...bypass.map(javaPattern)].join('|')}`,
  ];
}

function javaPattern(item: string): string {
  return item.startsWith('.') ? `*${item}` : item;
}
