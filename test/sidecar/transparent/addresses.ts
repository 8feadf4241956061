/** Documentation addresses (RFC 5737, RFC 3849): the pod, the world, and where nobody is. */
export const POD = { v4: '198.51.100.2', v6: '2001:db8:1::2' };
export const WORLD = { v4: '198.51.100.7', v6: '2001:db8:1::7' };
export const NOBODY = { v4: '198.51.100.99', v6: '2001:db8:1::99' };
/** Captured besides 80 and 443. */
export const BANNER_PORT = 2525;
/** Not captured. */
export const ODD_PORT = 8443;
export const COVERED = { v4: 'api4.example.test', v6: 'api6.example.test' };
export const UNCOVERED = { v4: 'other4.example.test', v6: 'other6.example.test' };
