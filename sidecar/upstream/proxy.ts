import { addressBytes } from '../../lib/addressBytes.ts';
import type { Authority } from '../decide/authority.ts';
import { isLoopback } from './addresses.ts';
import { inPrefix, type Prefix, parsePrefix } from './prefix.ts';

/** A corporate proxy that tunnels are asked of. */
export interface UpstreamProxy {
  readonly tls: boolean;
  readonly host: string;
  readonly port: number;
  /** The whole `Proxy-Authorization` line with CRLF, or empty; never to be printed. */
  readonly authorization: string;
}

/** The proxy for an authority, or undefined to go there directly. */
export type ProxySelector = (authority: Authority) => UpstreamProxy | undefined;

/**
 * Reads `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` (lower-case names win) as Go and curl do: `NO_PROXY` lists names with their
 * subdomains, `.suffix`es, addresses and networks, each with an optional port, or `*`; this machine itself is never proxied.
 *
 * @throws RangeError naming the variable, never its value, which may hold a password.
 */
export function proxySelector(env: NodeJS.ProcessEnv): ProxySelector {
  const proxies: Record<Authority['scheme'], UpstreamProxy | undefined> = {
    https: proxyOf(env, 'https_proxy'),
    http: proxyOf(env, 'http_proxy'),
  };
  if (proxies.https === undefined && proxies.http === undefined) return () => undefined;
  const exempt = exemptions(env.no_proxy || env.NO_PROXY || '');
  return (authority) => (exempt(authority) ? undefined : proxies[authority.scheme]);
}

function proxyOf(env: NodeJS.ProcessEnv, name: string): UpstreamProxy | undefined {
  const variable = env[name] ? name : name.toUpperCase();
  const text = env[variable]?.trim();
  if (!text) return undefined;
  try {
    const url = new URL(text.includes('://') ? text : `http://${text}`);
    if ((url.protocol !== 'http:' && url.protocol !== 'https:') || url.hostname === '') throw new Error();
    const userinfo = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
    const tls = url.protocol === 'https:';
    return {
      tls,
      host: url.hostname.replace(/^\[|\]$/g, ''),
      port: Number(url.port) || (tls ? 443 : 80),
      authorization:
        userinfo === ':' ? '' : `Proxy-Authorization: Basic ${Buffer.from(userinfo).toString('base64')}\r\n`,
    };
  } catch {
    throw new RangeError(
      `${variable} is not an http:// or https:// URL such as http://user:password@proxy.example:3128`,
    );
  }
}

type Exempt = (authority: Authority) => boolean;

function exemptions(list: string): Exempt {
  const rules = list.split(/[\s,]+/).filter((item) => item !== '');
  const checks = rules.map(exemption);
  return (authority) => isLocal(authority.host) || checks.some((check) => check(authority));
}

function isLocal(host: string): boolean {
  return host === 'localhost' || host.endsWith('.localhost') || isLoopback(host);
}

function exemption(item: string): Exempt {
  if (item === '*') return () => true;
  const { name, port } = splitPort(item.toLowerCase());
  const onPort = (authority: Authority) => port === undefined || port === authority.port;
  const network = networkOf(name);
  if (network !== undefined) {
    return (authority) => {
      const address = addressBytes(authority.host);
      return address !== undefined && inPrefix(network, address) && onPort(authority);
    };
  }
  const suffix = name.replace(/^\*?\.?/, '.');
  const alone = !/^\*?\./.test(name);
  return (authority) =>
    onPort(authority) && (authority.host.endsWith(suffix) || (alone && authority.host === suffix.slice(1)));
}

function splitPort(item: string): { name: string; port: number | undefined } {
  const [, name, port] = /^(\[[^\]]*\]|[^:]*):([0-9]{1,5})$/.exec(item) ?? [];
  return { name: (name ?? item).replace(/^\[|\]$/g, ''), port: port === undefined ? undefined : Number(port) };
}

function networkOf(name: string): Prefix | undefined {
  try {
    return parsePrefix(name);
  } catch {
    return undefined;
  }
}
