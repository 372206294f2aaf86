"""Orders in a database behind an API: FastAPI, pydantic, SQLAlchemy's ORM on SQLite."""

import hashlib
import hmac
import os
import threading
from typing import List, Optional

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, Field
from sqlalchemy import Column, Float, ForeignKey, Integer, String, Text, create_engine, event, func, select
from sqlalchemy.orm import Session, declarative_base, relationship, selectinload
from sqlalchemy.pool import QueuePool

ORDERS = 400  # rows that stay as many: the data does not grow, so memory should not
KEY = b"key of the signatures"
Base = declarative_base()


class Order(Base):
    __tablename__ = "orders"
    id = Column(Integer, primary_key=True)
    customer = Column(String(80))
    note = Column(Text)
    signature = Column(String(64))
    items = relationship("Item", cascade="all, delete-orphan", order_by="Item.id")


class Item(Base):
    __tablename__ = "items"
    id = Column(Integer, primary_key=True)
    order_id = Column(ForeignKey("orders.id"), index=True)
    sku = Column(String(20))
    title = Column(String(120))
    price = Column(Float)
    quantity = Column(Integer)


class ItemModel(BaseModel):
    sku: str = Field(max_length=20)
    title: str
    price: float = Field(ge=0)
    quantity: int = Field(ge=1)

    class Config:
        orm_mode = True


class OrderModel(BaseModel):
    id: Optional[int]
    customer: str
    note: str = ""
    signature: str = ""
    items: List[ItemModel]

    class Config:
        orm_mode = True


# Handlers run in the framework's worker threads, each with a connection of the pool's. SQLite has one writer at a time.
engine = create_engine(
    "sqlite:///" + os.path.abspath("orders.sqlite"), poolclass=QueuePool, connect_args={"check_same_thread": False}
)
writing = threading.Lock()
app = FastAPI()


@event.listens_for(engine, "connect")
def set_up_connection(connection, _record):
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=OFF")


def fill(order, model):
    order.customer, order.note = model.customer, model.note
    order.items = [Item(**item.dict()) for item in model.items]
    order.signature = hmac.new(KEY, model.json().encode(), hashlib.sha256).hexdigest()


@app.on_event("startup")
def set_up():
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        for number in range(ORDERS):
            items = [Item(sku=f"{number}-{n}", title="t" * 40, price=n, quantity=1) for n in range(5)]
            session.add(Order(id=number, customer=f"customer {number}", note="", signature="", items=items))
        session.commit()


@app.put("/orders/{number}", response_model=OrderModel)
def put_order(number: int, model: OrderModel):
    with writing, Session(engine) as session:
        order = session.get(Order, number)
        if order is None:
            raise HTTPException(404)
        fill(order, model)
        session.commit()
        return OrderModel.from_orm(order)


@app.get("/orders/{number}", response_model=OrderModel)
def get_order(number: int):
    with Session(engine) as session:
        order = session.get(Order, number, options=[selectinload(Order.items)])
        if order is None:
            raise HTTPException(404)
        return OrderModel.from_orm(order)


@app.get("/search", response_model=List[OrderModel])
def search(first: int, count: int, columns: int = 0):
    """Statements of many forms, as filters chosen by users make them: each is a key of the statement cache."""
    statement = select(Order).where(Order.id >= first).order_by(Order.id).limit(count)
    for bit, condition in enumerate((Order.note != "none", Order.customer.like("c%"), Order.signature.is_not(None))):
        if columns >> bit & 1:
            statement = statement.where(condition)
    with Session(engine) as session:
        orders = session.scalars(statement.options(selectinload(Order.items))).all()
        return [OrderModel.from_orm(order) for order in orders]


@app.get("/report")
def report():
    statement = select(Order.customer, func.count(Item.id), func.sum(Item.price * Item.quantity))
    with Session(engine) as session:
        rows = session.execute(statement.join(Item).group_by(Order.id).limit(100)).all()
        return [{"customer": row[0], "items": row[1], "total": row[2]} for row in rows]
