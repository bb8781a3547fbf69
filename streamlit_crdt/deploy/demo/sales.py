"""Two years of sales of a fictional coffee chain.

The data are generated from a fixed seed, because the demo must work offline and every session must show the same rows.
"""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd

SHOPS = {
    "North": ("Harbour", "Lighthouse"),
    "South": ("Old Mill", "Vineyard"),
    "East": ("Station", "Foundry"),
    "West": ("University", "Riverside"),
}
DRINKS = {"Espresso": 2.4, "Flat white": 3.6, "Filter": 2.9, "Iced latte": 4.2}
FIRST_DAY, LAST_DAY = (
    date(2024, 1, 1),
    date(2025, 12, 28),
)  # a Monday and a Sunday, so that the chart shows whole weeks
SEED = 20240101


def sales() -> pd.DataFrame:
    """Return one row per day, shop and drink: `day`, `region`, `shop`, `drink`, `cups`, `revenue`."""
    random = np.random.default_rng(SEED)
    days = pd.date_range(FIRST_DAY, LAST_DAY, freq="D")
    places = [(region, shop) for region, shops in SHOPS.items() for shop in shops]
    table = pd.MultiIndex.from_product([days, places, DRINKS], names=["day", "place", "drink"]).to_frame(
        index=False
    )
    table["region"] = table["place"].str[0]
    table["shop"] = table["place"].str[1]
    expected = _expected_cups(table, random)
    table["cups"] = random.poisson(expected)
    table["revenue"] = (table["cups"] * table["drink"].map(DRINKS)).round(2)
    return table.drop(columns="place")[["day", "region", "shop", "drink", "cups", "revenue"]]


def _expected_cups(table: pd.DataFrame, random: np.random.Generator) -> pd.Series:
    """Return the expected cups: the product of shop size, growth, weekday and season of the drink."""
    day_of_year = table["day"].dt.day_of_year
    summer = np.cos((day_of_year - 200) / 365 * 2 * np.pi)
    sizes = {shop: random.uniform(22, 60) for shops in SHOPS.values() for shop in shops}
    growth = 1 + 0.25 * (table["day"] - pd.Timestamp(FIRST_DAY)).dt.days / (LAST_DAY - FIRST_DAY).days
    weekday = table["day"].dt.day_of_week.map({5: 1.35, 6: 1.2}).fillna(1.0)
    season = np.where(table["drink"] == "Iced latte", 1 + 0.7 * summer, 1 - 0.18 * summer)
    expected: pd.Series = table["shop"].map(sizes) * growth * weekday * season
    return expected
