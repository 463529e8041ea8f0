// Dollars come as decimal strings and are added up as whole nano-dollars: no floats.

const DIGITS = 9;

export function nanos(usd) {
  const [whole, part = ""] = usd.split(".");
  return BigInt(whole + part.padEnd(DIGITS, "0").slice(0, DIGITS));
}

export function dollars(amount) {
  const digits = amount.toString().padStart(DIGITS + 1, "0");
  const part = digits.slice(-DIGITS).replace(/0+$/, "").padEnd(2, "0");
  return `$${digits.slice(0, -DIGITS)}.${part}`;
}
