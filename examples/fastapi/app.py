from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()


class Order(BaseModel):
    item: str
    count: int = 1


@app.get("/")
async def index():
    return {"message": "FastAPI says hello"}


@app.post("/orders")
async def place(order: Order):
    return {"placed": order}
