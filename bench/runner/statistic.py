"""Statistics that Python's library does not have."""

import math

Z_95 = 1.959964


def median(values):
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def percentile(weighed, share):
    """Of (value, weight) pairs the least value that, with those below it, has that share of the weight."""
    left = share * sum(weight for _, weight in weighed) * (1 - 1e-9)
    for value, weight in sorted(weighed):
        left -= weight
        if left <= 0:
            return value
    return max(weighed)[0]


def geometric_mean(values):
    return math.exp(sum(map(math.log, values)) / len(values))


def theil_sen(points):
    """(slope, low, high): the median of the slopes between all pairs of (x, y), and Sen's interval of 95 %, from the
    variance of Kendall's statistic."""
    slopes = sorted((y2 - y1) / (x2 - x1) for i, (x1, y1) in enumerate(points) for x2, y2 in points[i + 1 :])
    count = len(points)
    reach = Z_95 * math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    low = math.floor((len(slopes) - reach) / 2)
    high = math.ceil((len(slopes) + reach) / 2)
    return median(slopes), slopes[max(0, low)], slopes[min(len(slopes) - 1, high)]


def integral(times, values):
    """By trapezoids."""
    return sum((t2 - t1) * (v1 + v2) / 2 for t1, t2, v1, v2 in zip(times, times[1:], values, values[1:]))


def value_at(times, values, when):
    """Between samples, on a straight line; None outside."""
    if not times or not times[0] <= when <= times[-1]:
        return None
    for t1, t2, v1, v2 in zip(times, times[1:], values, values[1:]):
        if when <= t2:
            return v1 + (v2 - v1) * (when - t1) / (t2 - t1) if t2 > t1 else v2
    return values[-1]
