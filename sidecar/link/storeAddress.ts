export interface StoreAddress {
  host: string;
  port: number;
}

/** Where to connect for an https:// URL. */
export function storeAddress(storeUrl: string): StoreAddress {
  const url = new URL(storeUrl);
  return { host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port) || 443 };
}
